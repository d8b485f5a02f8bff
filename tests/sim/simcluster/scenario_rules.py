"""What the options and faults of a scenario may be, beyond their types: tables of rules, by the names of the fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from itertools import chain
from math import inf
from typing import Any, NamedTuple, get_args

from simcluster.faults import Crash, CutLinks, Fault, Partition, Several, Slow
from simcluster.faults_local import ForgeReports
from simcluster.network import Control
from simcluster.options import NODES_MAX, Options
from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.effects import Effect
from totemd.executive.totem.wire.packets import FRAME_BODY_BYTES_MAX, RETRANSMIT_REQUESTS_MAX, AnyPacket

SECONDS_MAX = 600.0
"""The longest time that a scenario can name: a run of more takes longer than anybody waits."""

COUNT_MAX = 1_000_000
BYTES_MAX = 2**31
TIMER_MIN = 0.01
"""Seconds; below the shortest of a configuration, and still above the time that a packet takes."""

LATENCY_MIN = 0.00001
"""Seconds; without any, a token goes round without end at one instant."""

FRAME_BYTES_MIN = 100
"""Smallest that chance draws: with less, not every message can be cut."""


class Rule(NamedTuple):
    """What a value may be."""

    accepts: str
    """In words, after "is not"."""
    holds: Callable[[Any], bool]


def _within(least: float, most: float) -> Rule:
    return Rule(f"from {least} to {most}", lambda value: least <= value <= most)


def _one_of(words: Iterable[str]) -> Rule:
    known = tuple(words)
    return Rule(f"one of {', '.join(known)}", lambda value: value in known)


SECONDS = _within(0.0, SECONDS_MAX)
SHARE = _within(0.0, 1.0)
COUNT = _within(0, COUNT_MAX)
COUNTED = _within(1, COUNT_MAX)
BYTES = _within(1, BYTES_MAX)
TIMER = _within(TIMER_MIN, SECONDS_MAX)
NODES = _within(1, NODES_MAX)
SEED = _within(0, 2**64)

PACKETS = (*(kind.__name__ for kind in get_args(AnyPacket)), Control.__name__)
EVENTS = (*(state.value for state in RingState), *(kind.__name__ for kind in get_args(Effect)), "Persisting")
"""Where a trap can be set: a state is entered, an effect was carried out, or is about to be."""

OPTIONS: dict[str, Rule] = {
    "run.clock_rate": _within(0.0, 0.5),
    "run.inbox_max": COUNTED,
    "run.exchange": _one_of(("agreed", "safe", "none", "cpg")),
    "run.wire": _one_of(("objects", "codec", "sealed", "unsealed")),
    "weather.latency": _within(LATENCY_MIN, SECONDS_MAX),
    **{
        f"weather.{name}": SHARE
        for name in ("loss", "data_loss", "bad_link_loss", "bad_links", "bursts", "duplicates", "tail", "corruption")
    },
    "load.senders": _one_of(("all", "one", "none")),
    "load.safe": SHARE,
    "groups.joins": SHARE,
    **{f"groups.{name}": COUNTED for name in ("clients", "groups")},
    **{f"groups.{name}": BYTES for name in ("service_credit", "client_credit", "unread_max")},
    **{f"endings.{name}": SHARE for name in ("obituaries", "reports", "late")},
    **{f"ring.{name}": TIMER for name in ("token", "token_retransmit", "hold", "join", "consensus", "merge")},
    **{
        f"ring.{name}": COUNTED
        for name in ("fail_recv_const", "seqno_unchanged_const", "miss_count_const", "window_size", "max_messages")
    },
    "ring.window_growth": COUNTED,
    "ring.frame_bytes": _within(FRAME_BYTES_MIN, FRAME_BODY_BYTES_MAX),
    "ring.datagram_bytes": _within(FRAME_BYTES_MIN, FRAME_BODY_BYTES_MAX),
    "ring.store_frames_max": COUNTED,
    "ring.store_bytes_max": BYTES,
    "ring.submission_bytes_max": BYTES,
    "ring.missing_max": _within(1, RETRANSMIT_REQUESTS_MAX),
    "ring.options_digest": _within(0, 2**32 - 1),
}
"""GROUP.NAME of an option -> its rule; those that are not here have that of their type."""


def option_problem(group: str, name: str, value: object) -> str:
    """What is wrong with the value of an option; empty if nothing is."""
    usual = SECONDS if isinstance(value, float) else COUNT if type(value) is int else None
    rule = OPTIONS.get(f"{group}.{name}", usual)
    return "" if rule is None or rule.holds(value) else f"{value} is not {rule.accepts}"


def options_problem(options: Options) -> str:
    """Which options do not go together; empty if all do."""
    if (options.exchange == "cpg") is (options.groups is None):
        return "run exchange=cpg and a 'groups' line go together: without both there are no clients"
    return ""


def fault_problem(fault: Fault, options: Options) -> str:
    """What is wrong with a fault in a run with these options; empty if nothing is."""
    return next(_problems(fault, _fault_rules(options)), "")


def _fault_rules(options: Options) -> dict[str, Rule]:
    """NAME, or FAULT.NAME, of a field -> the rule for it, or for all that stands in its tuple."""
    groups = options.groups
    node = _within(1, options.nodes)
    return {
        **dict.fromkeys(("node", "nodes", "ring_of", "links", "groups", "at", "about"), node),
        **dict.fromkeys(("downtime", "downtimes", "seconds", "write_seconds", "heartbeat"), SECONDS),
        "StepWallClock.seconds": _within(-BYTES_MAX, BYTES_MAX),
        "types": _one_of(PACKETS),
        "event": _one_of(EVENTS),
        "share": SHARE,
        "skip": COUNT,
        "count": COUNTED,
        "Lossy.count": _within(-1, COUNT_MAX),
        "lag": _within(0.0, inf),
        "factor": _within(TIMER_MIN, 1 / TIMER_MIN),
        "key": _within(0, 2**64),
        "client": COUNT if groups is None else _within(0, groups.clients - 1),
        "group": COUNT if groups is None else _within(0, groups.groups - 1),
    }


def _problems(fault: Fault, rules: dict[str, Rule]) -> Iterator[str]:
    kind = type(fault).__name__
    for each in fields(fault):
        rule = rules.get(f"{kind}.{each.name}", rules.get(each.name))
        for value in _leaves(getattr(fault, each.name)):
            if is_dataclass(value):
                yield from _problems(value, rules)  # type: ignore[arg-type]  # the only dataclasses in faults are faults
            elif rule is not None and not rule.holds(value):
                yield f"{kind}: {each.name}: {value!r} is not {rule.accepts}"
    if wrong := _shape_problem(fault):
        yield f"{kind}: {wrong}"


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, tuple):
        yield from chain.from_iterable(map(_leaves, value))
    else:
        yield value


def _shape_problem(fault: Fault) -> str:
    """What is wrong with the tuples of a fault, or between its fields."""
    for sender, receiver in getattr(fault, "links", ()):
        if sender == receiver:
            return f"links: nothing goes over a link from {sender} to itself"
    match fault:
        case Crash(nodes, downtimes) if not nodes or len(nodes) != len(downtimes) or len(set(nodes)) != len(nodes):
            return "nodes are one or more, none twice, and have a downtime each"
        case Partition(groups) if len(set(chain(*groups))) != len(list(chain(*groups))):
            return "a node is in one of the groups at most"
        case Several(()) | CutLinks(()) | Slow(()) | Slow(_, ()):
            return "an empty tuple means that nothing happens"
        case ForgeReports(at, about) if at == about:
            return "nobody is told of itself"
    return ""
