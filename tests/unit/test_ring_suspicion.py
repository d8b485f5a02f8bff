"""Members whose process is gone (docs/totem.md §5.9): obituaries, closed ports, probes, pauses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ringbus import CONSENSUS, TOKEN, Bus
from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.suspicion import PROBE_SECONDS_MIN, PROBES, RESPITE_SECONDS
from totemd.executive.totem.wire.packets import Alive, Join, Probe

KNOCK = 0.1
VERDICT = PROBES * PROBE_SECONDS_MIN


@pytest.fixture
def bus() -> Iterator[Bus]:
    bus = Bus()
    yield bus
    assert not [name for ring in bus.rings.values() for name in ring.counters if name.startswith("bug.")]


def test_an_obituary_re_forms_the_ring_at_once(bus: Bus) -> None:
    bus.up.discard(2)
    bus.obituary(at=1, about=2)
    bus.obituary(at=3, about=2)
    assert bus.until(bus.survivors_are(1, 3), 5.0) < TOKEN / 10


def test_one_survivor_that_knows_is_enough(bus: Bus) -> None:
    bus.up.discard(2)
    bus.obituary(at=3, about=2)
    assert bus.until(bus.survivors_are(1, 3), 5.0) < TOKEN / 10


def test_who_is_taken_out_of_the_node_list_is_not_waited_for(bus: Bus) -> None:
    for node in (1, 3):
        bus.rings[node].node_removed(2, bus.now)
        bus.rings[node].node_removed(9, bus.now)
        bus._effects(node)
    assert bus.until(bus.survivors_are(1, 3), 5.0) < TOKEN / 10


@pytest.mark.parametrize("times", [1, 3])
def test_an_obituary_of_an_outsider_changes_nothing(bus: Bus, times: int) -> None:
    bus.up.discard(2)
    for _ in range(times):
        bus.obituary(at=1, about=2)
        bus.obituary(at=3, about=2)
    bus.until(bus.survivors_are(1, 3), 5.0)
    rings = {node: ring.installed for node, ring in bus.rings.items()}
    for _ in range(times):
        bus.obituary(at=1, about=2)
        bus.obituary(at=1, about=9)
    bus.run(3 * TOKEN)
    assert {node: ring.installed for node, ring in bus.rings.items() if node != 2} == {1: rings[1], 3: rings[3]}


@pytest.mark.parametrize("state", [RingState.GATHER, RingState.COMMIT, RingState.RECOVERY])
def test_an_obituary_in_the_middle_of_forming_does_not_wait_for_a_timeout(bus: Bus, state: RingState) -> None:
    bus.rings[1].gather(bus.now)
    bus._effects(1)
    bus.until(lambda: bus.rings[3].state is state, 5.0)
    bus.up.discard(2)
    for node in (1, 3):
        bus.obituary(at=node, about=2)
    assert bus.until(bus.survivors_are(1, 3), 5.0) < TOKEN / 5


def test_a_closed_port_that_nobody_answers_at_ends_the_wait(bus: Bus) -> None:
    bus.up.discard(2)
    bus.hint(at=1, about=2)
    took = bus.until(bus.survivors_are(1, 3), 5.0)
    assert VERDICT <= took < VERDICT + TOKEN / 10
    assert len(bus.probes(about=2)) == PROBES
    assert [fact.fields for node, fact in bus.facts if fact.event == "ring.process_gone"] == [(("nodes", (2,)),)]


def test_a_hint_about_a_living_node_costs_a_question(bus: Bus) -> None:
    """However many are forged: nobody leaves, and the questions keep a bound."""
    rings = {ring.installed for ring in bus.rings.values()}
    began = bus.now
    while bus.now - began < 2.0:
        for about in (2, 3, 9, 1):
            bus.hint(at=1, about=about)
        bus.run(0.001)
    assert {ring.installed for ring in bus.rings.values()} == rings
    for about in (2, 3):
        assert 10 < len(bus.probes(about)) <= 2.0 / RESPITE_SECONDS + 1
    assert bus.probes(about=9) == bus.probes(about=1) == []
    assert bus.count("suspicion.answered") == len(bus.probes(2)) + len(bus.probes(3))


def test_any_packet_clears_a_suspect_even_if_answers_are_lost(bus: Bus) -> None:
    bus.lost = lambda to, packet: isinstance(packet, Alive)
    rings = {ring.installed for ring in bus.rings.values()}
    for _ in range(20):
        bus.hint(at=1, about=3)
        bus.run(0.05)
    assert {ring.installed for ring in bus.rings.values()} == rings
    assert bus.count("suspicion.cleared") > 0


def test_a_lost_probe_is_no_verdict(bus: Bus) -> None:
    lost = iter([True] * (PROBES - 1))
    bus.lost = lambda to, packet: packet == Probe(answer=True) and next(lost, False)
    rings = {ring.installed for ring in bus.rings.values()}
    for about in (2, 3):
        bus.hint(at=1, about=about)
    bus.run(2 * VERDICT)
    assert {ring.installed for ring in bus.rings.values()} == rings


def test_without_a_hint_a_silent_node_keeps_the_token_timeout(bus: Bus) -> None:
    bus.stopped.add(2)
    began = bus.now
    bus.run(0.9 * TOKEN)
    assert all(bus.rings[node].members == (1, 2, 3) for node in (1, 3))
    bus.until(bus.survivors_are(1, 3), 5.0)
    assert bus.now - began > TOKEN
    assert bus.probes(about=2) == []


def test_knocks_find_a_dead_successor_on_an_idle_ring() -> None:
    bus = Bus(knock=KNOCK)
    bus.reports_closed_ports = True
    bus.run(2 * TOKEN)
    bus.up.discard(2)
    assert bus.until(bus.survivors_are(1, 3), 5.0) < 2 * KNOCK + VERDICT + TOKEN / 10


def test_two_that_die_together_are_both_found() -> None:
    bus = Bus((1, 2, 3, 4, 5), knock=KNOCK)
    bus.reports_closed_ports = True
    bus.run(2 * TOKEN)
    bus.up -= {3, 4}
    assert bus.until(bus.survivors_are(1, 2, 5), 5.0) < 2 * KNOCK + 3 * VERDICT


def test_knocks_are_few_and_unanswered() -> None:
    bus = Bus(knock=KNOCK)
    bus.run(2.0)
    bus.sent.clear()
    bus.run(2.0)
    knocks = [packet for _, _, _, packet in bus.sent if packet == Probe(answer=False)]
    assert 0 < len(knocks) <= 3 * 2.0 / KNOCK
    assert not any(isinstance(packet, Alive) for _, _, _, packet in bus.sent)


def test_who_was_paused_accuses_nobody_before_it_has_listened(bus: Bus) -> None:
    """What was due while it stood still says nothing about the others."""
    bus.rings[3].gather(bus.now)
    bus._effects(3)
    bus.hint(at=3, about=1)
    bus.sent.clear()
    bus.pause(3, 5 * CONSENSUS)
    woke = bus.now
    assert bus.rings[3].state is RingState.GATHER
    bus.until(bus.survivors_are(1, 2, 3), 10.0)
    accusations = [packet for at, who, _, packet in bus.sent if at >= woke and who == 3 and isinstance(packet, Join)]
    assert accusations and not any(join.failed for join in accusations)


@pytest.mark.parametrize("seconds", [0.6 * TOKEN, 0.95 * TOKEN, 3 * TOKEN])
def test_who_was_paused_in_peace_comes_back_without_an_accusation(bus: Bus, seconds: float) -> None:
    bus.pause(2, seconds)
    woke = bus.now
    bus.until(bus.survivors_are(1, 2, 3), 10.0)
    joins = [packet for at, who, _, packet in bus.sent if at >= woke and who == 2 and isinstance(packet, Join)]
    assert not any(join.failed for join in joins)


def test_obituaries_and_hints_from_before_a_pause_are_old_news(bus: Bus) -> None:
    ring = bus.rings[1]
    ring.pause_detected(bus.now)
    bus.obituary(at=1, about=2)
    bus.hint(at=1, about=2)
    assert ring.state is RingState.OPERATIONAL and bus.probes(about=2) == []
    ring.backlog_drained(bus.now)
    bus.run(TOKEN)
    assert bus.survivors_are(1, 2, 3)()


def test_who_was_asked_before_a_pause_can_be_found_gone_after_it(bus: Bus) -> None:
    bus.hint(at=1, about=2)
    bus.up.discard(2)
    bus.pause(1, 0.7 * TOKEN)
    bus.hint(at=1, about=2)
    assert bus.until(bus.survivors_are(1, 3), 5.0) < VERDICT + TOKEN / 10


def test_who_has_left_says_nothing_any_more(bus: Bus) -> None:
    bus.hint(at=1, about=2)
    bus.rings[1].leave(bus.now)
    bus.obituary(at=1, about=2)
    bus.hint(at=1, about=3)
    bus.up.discard(1)
    assert bus.rings[1].next_deadline() is None
