"""A core that lives a little, for the tests of the flight recorder."""

from __future__ import annotations

from collections.abc import Callable

from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.submission import Submission
from totemd.executive.totem.recorder.format import Header, encode_dump
from totemd.executive.totem.recorder.ring import RecordedRing
from totemd.executive.totem.recorder.tape import buffer_bytes
from totemd.executive.totem.wire.packets import Join
from totemd.ipc.ids import Guarantee
from totemd.ipc.messages.stream import Lane

PARAMETERS = RingParameters(node_id=1, token=0.4, token_retransmit=0.1, hold=0.07, join=0.05, consensus=0.5, merge=0.2)
HEADER = Header("0.1.0", "c0ffee00", 1, 4711, 1, "test", wall=1_800_000_000.0, clock=10.0, reason="a test")
SECRET = b"what only users may see"


def jitter() -> Callable[[], float]:
    numbers = iter(range(1, 1_000_000))
    return lambda: next(numbers) % 97 / 97


def recorded(recording_bytes: int = 1 << 20, **changes: object) -> RecordedRing:
    """A core that is recorded from its first input on."""
    ring = RecordedRing(PARAMETERS, 1, jitter())
    ring.record(bytearray(buffer_bytes(recording_bytes)))
    return ring


def live(ring: RecordedRing, rounds: int = 30) -> None:
    """Alone, with messages, disturbed by a stranger now and then."""
    now = 10.0
    ring.start(now)
    for number in range(rounds):
        ring.submit(Submission(2, Lane.APPLICATION, Guarantee.AGREED, SECRET * (1 + number % 900)), now)
        ring.services_synchronised(now)
        if number % 10 == 9:
            ring.receive(Join((2,), (), number, 0, False, 0), 2, now)
        for _ in range(20):
            now = max(now, ring.next_deadline() or now)
            ring.expire(now)
        ring.take_effects()


def dump(ring: RecordedRing, header: Header = HEADER) -> bytes:
    assert ring.tape is not None
    return encode_dump(header, ring.tape.segments())
