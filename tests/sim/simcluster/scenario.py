"""A run written down instead of drawn: its options, what goes wrong when, and what is submitted when."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from simcluster.faults import PlannedFault
from simcluster.options import (
    CONSENSUS,
    HOLD,
    JOIN,
    MERGE,
    RETRANSMIT,
    TOKEN,
    GroupOptions,
    Load,
    Options,
    Weather,
    derive,
)
from totemd.executive.totem.core.parameters import RingParameters


@dataclass(frozen=True, slots=True)
class Request:
    """An application's submission."""

    time: float
    node: int
    size: int
    """Bytes."""
    safe: bool

    def payload(self, index: int) -> bytes:
        """Bytes that differ from those of another *index*, as far as the size allows."""
        text = f"{index}.".encode()
        return (text * (self.size // len(text) + 1))[: self.size]


@dataclass(frozen=True, slots=True)
class Script:
    """All that happens to a cluster from outside."""

    options: Options
    faults: tuple[PlannedFault, ...]
    requests: tuple[Request, ...]
    """In time order; the load that `options` describes is not generated besides."""


@dataclass(frozen=True, slots=True)
class Golden:
    """What a run of a scenario is known to come to."""

    verdict: tuple[str, ...] = ()
    """Properties that are violated; none in a sound run."""
    stories: tuple[str, ...] = ()
    """Per node, in words: the members of each regular configuration, and where it crashed."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script that is kept, with what it is for and what it must come to."""

    script: Script
    title: tuple[str, ...] = ()
    """Lines of prose."""
    mutant: str = ""
    """The mistake that it shows: with it the verdict is the one expected; without it the run is sound."""
    reaches: tuple[str, ...] = ()
    """Coverage counters that must not stay at zero: what it is kept for.  Never rewritten by a recording."""
    golden: Golden = field(default_factory=Golden)


QUIET_WEATHER = Weather(0.001, **{each.name: 0.0 for each in fields(Weather) if each.name != "latency"})
"""A millisecond from each to each, and nothing ever goes wrong."""


PLAIN_GROUPS = GroupOptions(1, 1, 1.0, 0.0, 0.0, 8 * 1024 * 1024, 4 * 1024 * 1024, 64 * 1024 * 1024, 0.0)
"""One client on each node, in one group, never short of anything: for a scenario that says `groups` at all."""


def plain(seed: int, nodes: int) -> Options:
    """Options without any surprise: a quick, perfect network, ordinary constants; scenarios name what differs."""
    return replace(
        derive(seed, "calm", (nodes, nodes)),
        nodes=nodes,
        fault_seconds=1.0,
        stormy=False,
        start_spread=0.0,
        clock_rate=0.0,
        wake_delay=0.0,
        inbox_max=1_000,
        service_delay=0.0,
        exchange="agreed",
        wire="objects",
        weather=QUIET_WEATHER,
        load=Load(1.0, 1, "none", 1, 0.0, 0),
        ring=RingParameters(
            1, TOKEN, RETRANSMIT, HOLD, JOIN, CONSENSUS, MERGE, seqno_unchanged_const=6, frame_bytes=400
        ),
    )
