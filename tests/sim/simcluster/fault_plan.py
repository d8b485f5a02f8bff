"""Which faults a run has: drawn from the seed before it starts.

Every fault has a generator of its own, named by its index, so that leaving one out changes no other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from simcluster import fault_makers
from simcluster.chance import Chance
from simcluster.faults import (
    Crash,
    CutLinks,
    CutNeighbours,
    Fault,
    Heal,
    Isolate,
    Leave,
    Lossy,
    Partition,
    Pause,
    PlannedFault,
    Release,
    Several,
    Slow,
    Trap,
)
from simcluster.lopsided import broken_for_good
from simcluster.options import ONE_WAY, TOKEN, Options

FIRST_FAULT_LATEST = 1.5
STORM_GAP_LOW, STORM_GAP_HIGH = 0.015, 0.100
"""Seconds between two faults of a storm: much less than a token timeout."""
STORM_SECONDS_HIGH = 1.5
HEALED_FIRST = 0.5
"""How often the network is mended before something else goes wrong: else most rings would be small."""
CALM_GAP_LOW, CALM_GAP_HIGH = 0.1, 1.5
DOWNTIME_LOW, DOWNTIME_HIGH = 0.005, 6 * TOKEN
PAUSE_LOW, PAUSE_HIGH = 0.1 * TOKEN, 3 * TOKEN
DEAF_HIGH = 8 * TOKEN
"""Long enough to be given up as failing to receive."""
PACKET_TYPES = ("Token", "CommitToken", "Join", "Mcast", "MergeDetect", "HoldCancel")

STATE_EVENTS = ("gather", "commit", "recovery", "operational")
EFFECT_EVENTS = ("Persist", "Unicast", "Multicast", "Deliver", "Originated", "TransitionalConfiguration",
                 "RegularConfiguration")  # fmt: skip
"""Where a trap can be set: on entering a state, or right after an effect was carried out."""


def plan(options: Options) -> tuple[PlannedFault, ...]:
    """All faults of a run, in time order."""
    if options.profile == "disk":
        return _numbered(fault_makers.wipes(options))
    if options.profile == ONE_WAY:
        before = _ring_faults(replace(options, fault_seconds=options.lopsided_from))
        return _numbered([(planned.time, planned.fault) for planned in before] + broken_for_good(options))
    ring_faults = [(planned.time, planned.fault) for planned in _ring_faults(options)]
    return _numbered(ring_faults + fault_makers.local_actions(options) + fault_makers.forged_reports(options))


def _numbered(faults: list[tuple[float, Fault]]) -> tuple[PlannedFault, ...]:
    ordered = sorted(faults, key=lambda planned: planned[0])
    return tuple(PlannedFault(index, time, fault) for index, (time, fault) in enumerate(ordered))


def _ring_faults(options: Options) -> tuple[PlannedFault, ...]:
    makers = _MAKERS.get(options.profile, _MAKERS["mixed"])
    if options.nodes == 1 and makers:
        makers = _CRASHES_OF_ONE
    if not makers:
        return ()
    pace = Chance(options.seed, "pace")
    time, index = pace.between(0, FIRST_FAULT_LATEST), 0
    storm_until = time + pace.between(0, STORM_SECONDS_HIGH) if options.stormy else 0.0
    planned: list[PlannedFault] = []
    while time < options.fault_seconds:
        chance = Chance(options.seed, "fault", index)
        made = chance.weighted(makers)(chance, options.nodes)
        if time >= storm_until and chance.happens(HEALED_FIRST):
            made.insert(0, Heal())
        for fault in made:
            planned.append(PlannedFault(index, time, fault))
            index += 1
            time += chance.between(STORM_GAP_LOW, STORM_GAP_HIGH)
        if time >= storm_until:
            time += pace.spread(CALM_GAP_LOW, CALM_GAP_HIGH)
            if options.stormy:
                storm_until = time + pace.between(0, STORM_SECONDS_HIGH)
    return tuple(each for each in planned if each.time < options.fault_seconds)


Maker = Callable[[Chance, int], list[Fault]]


def _nodes(count: int) -> tuple[int, ...]:
    return tuple(range(1, count + 1))


def _downtime(chance: Chance) -> float:
    return chance.spread(DOWNTIME_LOW, DOWNTIME_HIGH)


def _links(chance: Chance, nodes: int, count: int) -> tuple[tuple[int, int], ...]:
    links = [(a, b) for a in _nodes(nodes) for b in _nodes(nodes) if a != b]
    return tuple(chance.shuffled(links)[:count])


def _partition(chance: Chance, nodes: int) -> list[Fault]:
    sides = chance.choice((2, 2, min(3, nodes)))
    groups: list[list[int]] = [[] for _ in range(sides)]
    for node in _nodes(nodes):
        chance.choice(groups).append(node)
    return [Partition(tuple(tuple(group) for group in groups if group))]


def _isolate(chance: Chance, nodes: int) -> list[Fault]:
    inbound, outbound = chance.choice(((True, True), (True, False), (False, True)))
    return [Isolate(chance.integer(1, nodes), inbound, outbound)]


def _cut_links(chance: Chance, nodes: int) -> list[Fault]:
    links = _links(chance, nodes, chance.integer(1, 3))
    if chance.happens(0.5):
        links = links + tuple((b, a) for a, b in links)
    return [CutLinks(links)]


def _swizzle(chance: Chance, nodes: int) -> list[Fault]:
    links = _links(chance, nodes, nodes)
    return [*(CutLinks((link,)) for link in links), *(CutLinks((link,), False) for link in chance.shuffled(links))]


def _cut_neighbours(chance: Chance, nodes: int) -> list[Fault]:
    return [CutNeighbours(chance.integer(1, nodes), chance.happens(0.5))]


def _heal(chance: Chance, nodes: int) -> list[Fault]:
    return [Heal()]


def _crash(chance: Chance, nodes: int) -> list[Fault]:
    return [Crash((chance.integer(1, nodes),), (_downtime(chance),))]


def _crash_many(chance: Chance, nodes: int) -> list[Fault]:
    victims = tuple(sorted(chance.shuffled(_nodes(nodes))[: chance.integer(2, nodes)]))
    together = _downtime(chance)
    alone = chance.happens(0.5)
    return [Crash(victims, tuple(_downtime(chance) if alone else together for _ in victims))]


def _crash_at(chance: Chance, nodes: int) -> list[Fault]:
    node = chance.integer(1, nodes)
    event = chance.choice(STATE_EVENTS + EFFECT_EVENTS)
    return [Trap(node, event, chance.integer(0, 3), Crash((node,), (_downtime(chance),)))]


def _fault_at(chance: Chance, nodes: int) -> list[Fault]:
    """A fault while a ring is being formed, so that it is formed again from the middle; or while data is on its way."""
    event = chance.choice(STATE_EVENTS[1:] + STATE_EVENTS[1:] + EFFECT_EVENTS)
    node, skip = chance.integer(1, nodes), chance.choice((0, 0, 1, 3))
    return [Trap(node, event, skip, fault) for fault in _cut_off(chance, nodes)]


def _cut_off(chance: Chance, nodes: int) -> list[Fault]:
    """Something that ends a ring, or an attempt at one, for sure or probably."""
    maker = chance.choice((_token_gone, _partition, _partition, _isolate, _crash, _cut_links, _pause))
    return maker(chance, nodes)


def _token_gone(chance: Chance, nodes: int) -> list[Fault]:
    """No token gets through, for a time around the token timeout."""
    return [Lossy((chance.choice(("Token", "Token", "CommitToken")),), (), 1.0, chance.between(0.5, 1.5) * TOKEN)]


def _cascade(chance: Chance, nodes: int) -> list[Fault]:
    """Recoveries that are interrupted again and again: each trap waits for the attempt after the last fault."""
    event = chance.choice(("recovery", "recovery", "operational"))
    traps = (Trap(chance.integer(1, nodes), event, step, _cut_off(chance, nodes)[0]) for step in range(4))
    return [*traps, Lossy(("Mcast",), _links(chance, nodes, nodes), 0.7, 1.0)]


def _hole(chance: Chance, nodes: int) -> list[Fault]:
    """A node's messages reach some only, or nobody; it passes the token on, and is gone before it can repeat them."""
    return _hole_by(chance, nodes, chance.integer(1, nodes), ())


def _shatter(chance: Chance, nodes: int) -> list[Fault]:
    """A hole; then the first that installs the ring after it is cut off at once from those who acknowledged only."""
    node = chance.integer(1, nodes)
    others = [other for other in _nodes(nodes) if other != node]
    traps = tuple(Trap(other, "TransitionalConfiguration", 0, _partition(chance, nodes)[0]) for other in others)
    return _hole_by(chance, nodes, node, traps)


def _hole_by(chance: Chance, nodes: int, node: int, then: tuple[Fault, ...]) -> list[Fault]:
    others = chance.shuffled([other for other in _nodes(nodes) if other != node])
    deaf = others if chance.happens(0.6) else others[: chance.integer(1, len(others))]
    gone: Fault = Crash((node,), (_downtime(chance),))
    if chance.happens(0.5):
        gone = Partition(((node,), tuple(sorted(others))))
    silence = Lossy(("Mcast",), tuple((node, other) for other in deaf), chance.choice((0.5, 1.0)), 0.5)
    passed_on = Trap(node, "Unicast", chance.choice((0, 0, 0, 1, 3)), Several((*then, gone)))
    return [Trap(node, "Originated", chance.integer(0, 2), Several((silence, passed_on)))]


def _late(chance: Chance, nodes: int) -> list[Fault]:
    """A node's messages are so late that the next ring, without it, is being formed when they reach somebody."""
    node = chance.integer(1, nodes)
    others = chance.shuffled([other for other in _nodes(nodes) if other != node])
    slow = tuple((node, other) for other in (others if chance.happens(0.6) else others[:2]))
    gone: Fault = Leave(node, _downtime(chance))
    if chance.happens(0.3):
        gone = Crash((chance.choice((node, others[-1])),), (chance.spread(0.002, 0.02),))
    at_last = Trap(others[0], chance.choice(("commit", "recovery", "recovery")), 0, Release(others[0]))
    passed_on = Trap(node, "Unicast", chance.choice((0, 0, 0, 1, 3)), Several((at_last, gone)))
    return [Trap(node, "Originated", chance.integer(0, 2), Several((Slow(("Mcast",), slow, inf, 0.5), passed_on)))]


def _leave(chance: Chance, nodes: int) -> list[Fault]:
    return [Leave(chance.integer(1, nodes), _downtime(chance))]


def _pause(chance: Chance, nodes: int) -> list[Fault]:
    return [Pause(chance.integer(1, nodes), chance.spread(PAUSE_LOW, PAUSE_HIGH))]


def _lossy(chance: Chance, nodes: int) -> list[Fault]:
    types = chance.choice(((), (chance.choice(PACKET_TYPES),)))
    links = chance.choice(((), _links(chance, nodes, chance.integer(1, nodes))))
    return [Lossy(types, links, chance.choice((0.1, 0.3, 1.0)), chance.spread(0.01, 2 * TOKEN))]


def _deaf(chance: Chance, nodes: int) -> list[Fault]:
    """A node gets tokens but no messages."""
    victim = chance.integer(1, nodes)
    links = tuple((node, victim) for node in _nodes(nodes) if node != victim)
    return [Lossy(("Mcast",), links, 1.0, chance.spread(TOKEN, DEAF_HIGH))]


def _drop_next(chance: Chance, nodes: int) -> list[Fault]:
    kind = chance.choice(PACKET_TYPES[:4])
    return [Lossy((kind,), (), 1.0, 2 * TOKEN, chance.integer(0, 2 * nodes), chance.integer(1, 4))]


_PARTITIONS: tuple[tuple[float, Maker], ...] = (
    (3, _partition),
    (1, _isolate),
    (1, _cut_links),
    (0.7, _cut_neighbours),
    (0.4, _swizzle),
    (6, _heal),
)
_CRASHES: tuple[tuple[float, Maker], ...] = ((2, _crash), (0.4, _crash_many), (3, _crash_at), (0.6, _leave))
_CRASHES_OF_ONE: tuple[tuple[float, Maker], ...] = ((2, _crash), (3, _crash_at), (0.6, _leave))
_PAUSES: tuple[tuple[float, Maker], ...] = ((3, _pause),)
_LOSSES: tuple[tuple[float, Maker], ...] = ((2, _lossy), (5, _drop_next), (1, _deaf))

_MAKERS: dict[str, tuple[tuple[float, Maker], ...]] = {
    "mixed": (
        *_PARTITIONS,
        *_CRASHES,
        *_PAUSES,
        *_LOSSES,
        (8, _fault_at),
        (5, _cascade),
        (3, _hole),
        (4, _shatter),
        (3, _late),
        (1, fault_makers.flapping),
        (1, fault_makers.storm_of_restarts),
        (1, fault_makers.torn_write),
        (1, fault_makers.slow_disk),
        (1, fault_makers.reload),
        (1, fault_makers.corrupt),
        (1, fault_makers.stranger),
        (0.3, fault_makers.wall_clock),
    ),
    "calm": (),
    "loss": _LOSSES,
    "crash": _CRASHES,
    "partition": _PARTITIONS,
    ONE_WAY: (*_PARTITIONS, *_CRASHES),
    "pause": _PAUSES,
}
