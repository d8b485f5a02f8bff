"""The keeper: one process that is the parent of all applications that the configuration declares.

```
 init ── totemd ── sam ─ ─ starts, and starts again ─ ─ ▶ keeper ── application … application
           ▲         └───────── keeper.sock ───────────────▲ │
           └ totemctl ─────────────────────────────────────┘ └─ keeper.apps, keeper.lives, keeper.lock
```

It is nobody's child for long: the sam process starts it in a session of its own and without a lifeline, so that it
outlives the sam process and the executive.  `process` (the shell), `service` (its socket), `keeper` (all applications),
`app` (one of them), `plan` (order and differences, pure), `orders` (what totemctl waits for), `making` (from a
declaration to what supervises it), `record` (what a successor finds), `adopt` (applications that an earlier keeper
started), `logs`; `attendant` is the sam process's end.
"""
