"""Times every call that a process makes to its sockets; Python runs this at its start, where it is on the path.

`hops.py` puts it on the path of nodes and members.  When the process ends, its calls are in `$TOTEMD_BENCH_TRACE/PID`:
a line of JSON with the words of its command, then one line for each call, `[begin, end, kind, bytes]`, in nanoseconds
of the clock that all processes of a machine share.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARIABLE = "TOTEMD_BENCH_TRACE"
"""Names the folder for the files; without it nothing is traced."""

_calls: list[tuple[int, int, str, int]] = []


def _timed(kind: str, call: Callable[..., Any], size: Callable[[Any, Any], int]) -> Callable[..., Any]:
    """A call that is written down unless it raises (nothing was there)."""
    now = time.monotonic_ns

    def timed(*arguments: Any, **named: Any) -> Any:
        began = now()
        result = call(*arguments, **named)
        _calls.append((began, now(), kind, size(arguments, result)))
        return result

    return timed


def _write(folder: str) -> None:
    lines = [json.dumps(sys.orig_argv), *map(json.dumps, _calls)]
    Path(folder, str(os.getpid())).write_text("\n".join(lines) + "\n")


def _trace(folder: str) -> None:
    import zmq  # noqa: PLC0415

    traced, plain = socket.socket, socket.socket.__mro__[1]
    for name, kind in (("sendto", "out"), ("sendmsg", "out"), ("recvmsg", "in"), ("recvmsg_into", "in")):
        counts: Callable[[Any, Any], int] = (
            (lambda _, sent: sent) if kind == "out" else (lambda _, got: _length(got[0]))
        )
        setattr(traced, name, _timed(f"udp.{kind}", getattr(plain, name), counts))
    backend: Any = zmq.backend.Socket
    # ipc.endpoints takes its functions from there; pyzmq itself has taken them already.
    zmq.backend.Socket = types.SimpleNamespace(  # type: ignore[misc,assignment]
        send=_timed("zmq.out", backend.send, lambda arguments, _: len(arguments[1])),
        recv=_timed("zmq.in", backend.recv, lambda _, got: len(got)),
        get=backend.get,
    )
    atexit.register(_write, folder)


def _length(got: bytes | int) -> int:
    return got if isinstance(got, int) else len(got)


if os.environ.get(VARIABLE):
    _trace(os.environ[VARIABLE])
