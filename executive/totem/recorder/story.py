"""Steps of a replay in words, and as JSON: time, input, what it changed, which rules were taken, what it led to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import msgspec

from ....ipc.errors import MalformedMessage
from ..core.effects import (
    Deliver,
    Discarded,
    Effect,
    Fact,
    Multicast,
    Originated,
    Persist,
    RegularConfiguration,
    TransitionalConfiguration,
    Unicast,
)
from ..core.submission import Submission
from ..wire.packets import Mcast, Packet
from .format import Header, Kind
from .replay import Standing, Step, refusing_nonsense

_NAMES: Final = {
    Kind.FRAME: "frame arrived",
    Kind.PACKET: "packet arrived",
    Kind.SUBMISSION: "submission",
    Kind.EXPIRY: "timer",
    Kind.CALL: "call",
}
"""What `kind` is called in JSON."""


def wall_time(header: Header, time: float) -> datetime:
    """When, on the node's wall clock as it was when the recording began.

    Raises:
        MalformedMessage: the file says a time that no calendar has.
    """
    try:
        return datetime.fromtimestamp(header.wall + time - header.clock).astimezone()
    except (ValueError, OverflowError, OSError):
        raise MalformedMessage(f"recording: {time} is no time of its clock") from None


def told(step: Step, header: Header, since: float | None) -> Iterator[str]:
    """A step for people; *since* is the time of the one before.

    Raises:
        MalformedMessage: the file says something that cannot be told, since no core does it.
    """
    with refusing_nonsense():
        yield from _lines(step, header, since)


def _lines(step: Step, header: Header, since: float | None) -> Iterator[str]:
    moment = wall_time(header, step.time).strftime("%Y-%m-%d %H:%M:%S.%f")
    gap = "" if since is None else f"  +{1000 * (step.time - since):.3f} ms"
    yield f"{moment}{gap}  #{step.number}  {given(step)}"
    yield f"    state     {_change(step.before, step.after)}"
    if step.reaction or step.counted:
        rules = f" [{' '.join(step.counted)}]" if step.counted else ""
        yield f"    reaction  {step.reaction or '-'}{rules}"
    for effect in step.effects:
        yield f"    effect    {effect_text(effect)}"
    if step.note:
        yield f"    NOTE      {step.note}"
    if step.problem:
        yield f"    DIFFERENT {step.problem}"


@refusing_nonsense()
def as_json(step: Step, header: Header) -> dict[str, Any]:
    """A step for programs; the keys are part of the interface.

    Raises:
        MalformedMessage: the file says something that cannot be told, since no core does it.
    """
    return {
        "number": step.number,
        "time": wall_time(header, step.time).isoformat(),
        "clock": step.time,
        "input": _NAMES[step.kind],
        "sender": step.sender or None,
        "given": given(step),
        "reaction": step.reaction,
        "counted": list(step.counted),
        "before": _plain(step.before),
        "after": _plain(step.after),
        "effects": [{"kind": type(effect).__name__, "text": effect_text(effect)} for effect in step.effects],
        "problem": step.problem or None,
        "note": step.note or None,
    }


def given(step: Step) -> str:
    """The input in words."""
    match step.given:
        case Packet() as packet:
            return f"{packet_text(packet)} from node {step.sender}"
        case Submission(channel, lane, guarantee, payload):
            how = f"{guarantee.name.lower()}, {lane.name.lower()} lane"
            return f"submission of {len(payload)} bytes by service {channel}, {how}"
        case () if step.kind is Kind.EXPIRY:
            return "timers: none was due"
        case tuple(timers) if step.kind is Kind.EXPIRY:
            return f"timer {', '.join(timer.name for timer in timers)}"
        case tuple((name, *arguments)):
            return f"{name}({', '.join(_argument(each) for each in arguments if each != step.time)})"
    return ""


def packet_text(packet: Packet) -> str:
    """A packet on one line, frames without their content."""
    if isinstance(packet, Mcast):
        carries = "re-broadcast of an old frame" if packet.encapsulated else packet.guarantee.name.lower()
        return f"Mcast {packet.seq} of ring {packet.ring}, by node {packet.origin}, {carries}, {len(packet.body)} bytes"
    words = [f"{name}={_word(getattr(packet, name))}" for name in packet.__struct_fields__ if name != "ring"]
    ring = f" of ring {ring}" if (ring := getattr(packet, "ring", None)) is not None else ""
    return " ".join([f"{type(packet).__name__}{ring}", *words])


def effect_text(effect: Effect) -> str:
    """An effect on one line."""
    match effect:
        case Multicast(packet, scope):
            return f"multicast to {scope.value}: {packet_text(packet)}"
        case Unicast(to, packet):
            return f"send to node {to}: {packet_text(packet)}"
        case Deliver():
            where = "transitional" if effect.in_transitional else "regular"
            return (
                f"deliver message {effect.number} of node {effect.origin}, {len(effect.payload)} bytes, "
                f"{effect.guarantee.name.lower()}, at {effect.position} of ring {effect.ring} ({where})"
            )
        case Persist(sequence):
            return f"make ring sequence {sequence:x} durable"
        case RegularConfiguration(ring, members, survivors, joined):
            came = f"survivors {_word(survivors)} joined {_word(joined)}"
            return f"regular configuration {ring}: members {_word(members)} {came}"
        case TransitionalConfiguration(old, new, members, left):
            return f"transitional configuration {old} to {new}: members {_word(members)} left {_word(left)}"
        case Originated(number, _, ring, position, count):
            return f"own message {number} ({count} bytes) has its place: {position} of ring {ring}"
        case Discarded(number, _, count):
            return f"own message {number} ({count} bytes) is void with its ring"
        case Fact(event, level, values):
            return f"say {event} ({level.name.lower()}) " + " ".join(f"{name}={_word(value)}" for name, value in values)
    return str(effect)


def _change(before: Standing, after: Standing) -> str:
    """Where the core stands, and what of it the input changed."""
    words = [_arrow(before.state, after.state), f"ring {_arrow(before.ring, after.ring)}"]
    for each in fields(Standing)[2:]:
        old, new = getattr(before, each.name), getattr(after, each.name)
        if old != new:
            words.append(f"{each.name} {_arrow(_word(old), _word(new))}")
    return "  ".join(words)


def _arrow(old: str, new: str) -> str:
    return old if old == new else f"{old} -> {new}"


def _word(value: object) -> str:
    match value:
        case tuple() | list() | set() | frozenset():
            return ",".join(map(_word, value)) or "-"
        case bytes() | memoryview():
            return f"<{len(value)} bytes>"
        case msgspec.Struct() if "sequence" not in value.__struct_fields__:
            return "(" + " ".join(_word(getattr(value, name)) for name in value.__struct_fields__) + ")"
        case str() if " " in value:
            return repr(value)
    return str(value)


def _argument(value: object) -> str:
    if isinstance(value, int | float | str | tuple):
        return _word(value)
    return type(value).__name__


def _plain(standing: Standing) -> Mapping[str, Any]:
    return {each.name: getattr(standing, each.name) for each in fields(standing)}
