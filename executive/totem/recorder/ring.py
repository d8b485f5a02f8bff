"""The core, with everything that is called on it recorded: what came in, when, and a digest of what it led to.

An input is on the tape before the core sees it, so the one that brings the core down is the last of the recording.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from inspect import signature
from mmap import mmap
from types import FunctionType
from typing import Any, Final

import msgspec

from ..core.effects import Effect
from ..core.parameters import RingParameters
from ..core.ring import Ring
from ..core.submission import Submission
from ..wire.codec import encode
from ..wire.packets import AnyPacket, Mcast
from .blanks import blank_frame, blank_submission
from .checkpoint import encode_state, encode_value
from .digest import digest
from .format import Kind
from .tape import Tape

QUERIES: Final = frozenset({"next_deadline", "take_effects"})
"""What is called on the core and changes nothing; its properties do not either."""

CALLS: Final = frozenset(
    name
    for name, each in vars(Ring).items()
    if isinstance(each, FunctionType) and not name.startswith("_") and name not in QUERIES
) - {"receive", "submit", "expire"}
"""Inputs that are recorded by name and arguments; what is added to the core is recorded without a word here."""

BUG_COUNTER: Final = "bug."
"""The core counts what cannot happen under names that begin so."""

_FRAME, _PACKET, _SUBMISSION, _EXPIRY = map(int, (Kind.FRAME, Kind.PACKET, Kind.SUBMISSION, Kind.EXPIRY))
"""Plain numbers: looking up members of an enum would be a tenth of the recorder's work."""

_ENCODE: Final = msgspec.msgpack.Encoder().encode


def _nobody_listens(counter: str) -> None:
    """For a recording that nobody watches."""


class RecordedRing(Ring):
    """A `Ring` whose inputs go onto a tape."""

    def __init__(
        self,
        parameters: RingParameters,
        boot_sequence: int,
        jitter: Callable[[], float],
        violated: Callable[[str], None] = _nobody_listens,
    ) -> None:
        """Nothing is recorded before `record`; *violated* is told, once each, which invariants turned out broken."""
        super().__init__(parameters, boot_sequence, self._draw)
        self._source = jitter
        self._drawn: list[float] = []
        self._ready: list[Effect] = []
        self._violated = violated
        self._names_counted = 0
        self._now = 0.0
        self.tape: Tape | None = None

    def record(self, buffer: mmap | bytearray | None, now: float = 0.0) -> None:
        """Record into *buffer* (see `Tape`) from the next input on, or no longer.

        An input that comes without a time, before any that has one, counts as one of *now*.
        """
        self._now = max(self._now, now)
        self.tape = Tape(buffer, self._checkpoint) if buffer is not None else None

    @property
    def last_input(self) -> float:
        """The time of the last input."""
        return self._now

    def receive(self, packet: AnyPacket, sender: int, now: float) -> None:
        """See `Ring.receive`."""
        if (tape := self.tape) is None:
            super().receive(packet, sender, now)
            return
        self._now = now
        if isinstance(packet, Mcast):
            at = tape.append(_FRAME, now, sender, _ENCODE(blank_frame(packet)))
        else:
            at = tape.append(_PACKET, now, sender, encode(packet))
        Ring.receive(self, packet, sender, now)
        self._settle(tape, at)

    def submit(self, submission: Submission, now: float) -> int:
        """See `Ring.submit`."""
        if (tape := self.tape) is None:
            return super().submit(submission, now)
        self._now = now
        at = tape.append(_SUBMISSION, now, 0, _ENCODE(blank_submission(submission)))
        number = super().submit(submission, now)
        self._settle(tape, at)
        return number

    def expire(self, now: float) -> None:
        """See `Ring.expire`."""
        deadline = self.next_deadline()
        if deadline is None or deadline > now:
            return  # nothing is due: no input
        if (tape := self.tape) is None:
            super().expire(now)
            return
        self._now = now
        at = tape.append(_EXPIRY, now, 0, b"")
        super().expire(now)
        self._settle(tape, at)

    def take_effects(self) -> list[Effect]:
        """See `Ring.take_effects`."""
        if not self._ready:
            return super().take_effects() if self.tape is None else []
        effects, self._ready = self._ready, []
        return effects

    def call(self, method: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Any other input: a method of `Ring` and what it is given."""
        if (tape := self.tape) is None:
            return method(self, *arguments)
        if arguments and isinstance(arguments[-1], float):
            self._now = arguments[-1]
        at = tape.append(Kind.CALL, self._now, 0, encode_value((method.__name__, *arguments)))
        result = method(self, *arguments)
        self._settle(tape, at)
        return result

    def _checkpoint(self) -> bytes | None:
        try:
            return encode_state(self._context)
        except TypeError:
            # The core has grown something that no checkpoint can hold.  Tests find it; a node must not die of it.
            return None

    def _settle(self, tape: Tape, at: int) -> None:
        """The input was handled: note what it led to."""
        effects = Ring.take_effects(self)
        if self._drawn:
            tape.append(Kind.JITTER, self._now, 0, struct.pack(f"<{len(self._drawn)}d", *self._drawn))
            self._drawn.clear()
        tape.complete(at, digest(effects))
        if self._ready:
            self._ready += effects
        else:
            self._ready = effects
        counters = self._context.counters
        if len(counters) != self._names_counted:
            self._look_for_bugs()

    def _look_for_bugs(self) -> None:
        names = list(self._context.counters)
        for name in names[self._names_counted :]:
            if name.startswith(BUG_COUNTER):
                self._violated(name)
        self._names_counted = len(names)

    def _draw(self) -> float:
        drawn = self._source()
        if self.tape is not None:
            self._drawn.append(drawn)
        return drawn


def _recorded(name: str) -> Callable[..., Any]:
    method: Callable[..., Any] = getattr(Ring, name)
    shape = signature(method)

    def recorded(self: RecordedRing, *arguments: Any, **named: Any) -> Any:
        return self.call(method, shape.bind(self, *arguments, **named).args[1:])

    recorded.__name__, recorded.__doc__ = name, method.__doc__
    return recorded


for _name in CALLS:
    setattr(RecordedRing, _name, _recorded(_name))
