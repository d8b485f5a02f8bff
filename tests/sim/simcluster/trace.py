"""What happened in a run: always as one hash, and as readable lines when somebody wants to look."""

from __future__ import annotations

import hashlib

import msgspec
from totemd.executive.totem.core.effects import Effect, Multicast, Unicast


class Trace:
    """Hash of everything that the nodes did, in order; with *keep_lines* the lines too."""

    def __init__(self, keep_lines: bool = False) -> None:
        self.lines: list[tuple[float, str]] = []
        self._keep = keep_lines
        self._hash = hashlib.blake2b(digest_size=16)
        self._update = self._hash.update
        self._encode = msgspec.msgpack.Encoder(enc_hook=repr).encode

    @property
    def keeps_lines(self) -> bool:
        """Whether `say` is worth its cost."""
        return self._keep

    @property
    def digest(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest()

    def received(self, time: float, node: int, sender: int, packet: object) -> None:
        """A packet is handed to a node's core."""
        self._update(self._encode((time, node, sender, packet)))
        if self._keep:
            self.lines.append((time, f"node {node}    <- {sender}  {packet}"))

    def expired(self, time: float, node: int) -> None:
        """A node's timers fire."""
        self._update(self._encode((time, node)))
        if self._keep:
            self.lines.append((time, f"node {node}    timer"))

    def effect(self, time: float, node: int, effect: Effect) -> None:
        """A node carries out an effect."""
        self._update(self._encode((time, node, effect)))
        if self._keep:
            self.lines.append((time, f"node {node} {_effect_text(effect)}"))

    def seen(self, time: float, node: int, pid: int, group: str, event: object) -> None:
        """A member of a group reads an event."""
        self._update(self._encode((time, node, pid, group, event)))
        if self._keep:
            self.lines.append((time, f"node {node}    client {pid} in {group}: {event}"))

    def say(self, time: float, text: str) -> None:
        """A fault, a crash, a boot: anything that no core did."""
        self._update(text.encode())
        if self._keep:
            self.lines.append((time, text))

    def window(self, around: float, before: float = 0.5, after: float = 0.1) -> list[str]:
        """The kept lines near a time."""
        return [f"{time:10.6f}  {text}" for time, text in self.lines if around - before <= time <= around + after]


def _effect_text(effect: Effect) -> str:
    match effect:
        case Multicast(packet, scope):
            return f"   -> {scope.value}  {packet}"
        case Unicast(to, packet):
            return f"   -> {to}  {packet}"
        case _:
            return f"   !! {effect}"
