"""Many nodes, any interleaving: nodes at one place count the same, and rules hold through partitions and restarts."""

from __future__ import annotations

import random

import pytest
from quorumbus import Bus
from totemd.ipc.errors import InvalidArgument, NotFound, TryAgain
from totemd.ipc.ids import RingId
from totemd.ipc.messages.stream import Delivered
from totemd.services.envelope import Kind, enclose
from totemd.services.quorum.engine import NOT_QUORATE, PENDING_MAX, QUORATE
from totemd.services.quorum.rules import Own, Rules
from totemd.services.quorum.wire import Record


def cluster(nodes: int, rules: Rules | None = None, *, expected: int = 0, tracking: bool = False) -> Bus:
    own = Own(1, expected or nodes, rules or Rules(), tracking)
    return Bus(dict.fromkeys(range(1, nodes + 1), own))


def quorate(bus: Bus) -> set[int]:
    return {node_id for node_id, node in bus.nodes.items() if node.quorate}


# -- one after another


def test_the_larger_side_goes_on_and_the_smaller_does_not() -> None:
    bus = cluster(3)
    bus.settle()
    assert quorate(bus) == set(), "each is alone"
    bus.heal()
    assert quorate(bus) == {1, 2, 3}
    bus.partition((1,), (2, 3))
    assert quorate(bus) == {2, 3}
    bus.partition((1, 2, 3))
    assert quorate(bus) == {1, 2, 3}


def test_corosyncs_words_are_logged_in_its_order() -> None:
    bus = cluster(3)
    bus.heal()
    node = bus.nodes[1]
    node.notes.clear()
    bus.partition((1,), (2, 3))
    assert node.notes == ["Sync members[1]: 1", "Sync left[2]: 2 3", NOT_QUORATE, "Members[1]: 1"]
    node.notes.clear()
    bus.partition((1, 2, 3))
    assert node.notes == ["Sync members[3]: 1 2 3", "Sync joined[2]: 2 3", QUORATE, "Members[3]: 1 2 3"]


def test_changes_are_told_once_with_the_number_of_losses() -> None:
    bus = cluster(3)
    bus.heal()
    told = bus.nodes[1].told
    told.clear()
    bus.partition((1,), (2, 3))
    bus.partition((1, 2, 3))
    assert [(count.quorate, count.members, count.losses) for count in told] == [
        (False, (1,), 1),
        (True, (1, 2, 3), 1),
    ]
    assert told[-1].ring == bus.nodes[1].ring.ring_id


def test_without_a_ring_nothing_is_quorate() -> None:
    bus = cluster(1)
    bus.heal()
    node = bus.nodes[1]
    assert node.quorate
    node.crash()
    assert not node.quorate and node.told[-1].ring is None and node.told[-1].members == ()


def test_votes_of_a_quorum_process_that_dies_are_away_until_it_is_back() -> None:
    bus = cluster(3)
    bus.heal()
    bus.nodes[3].kill_service()
    bus.settle()
    assert bus.nodes[1].tally.ballot == {1: 1, 2: 1}
    bus.nodes[3].start_service()
    bus.nodes[3].attach()
    bus.settle()
    assert bus.nodes[3].quorate and bus.nodes[1].tally.ballot == {1: 1, 2: 1, 3: 1}


def test_the_last_of_two_nodes_survives_the_death_of_its_quorum_process() -> None:
    bus = cluster(2, Rules(two_node=True, wait_for_all=True))
    bus.heal()
    bus.nodes[2].crash()
    bus.partition((1,))
    node = bus.nodes[1]
    assert node.quorate
    node.kill_service()
    node.start_service()
    node.attach()
    bus.settle()
    assert node.quorate, "it remembers that it has seen all"


def test_a_node_that_is_started_again_waits_for_all() -> None:
    bus = cluster(2, Rules(two_node=True, wait_for_all=True))
    bus.heal()
    bus.nodes[2].crash()
    bus.partition((1,))
    bus.nodes[1].crash()
    bus.nodes[1].boot()
    bus.nodes[1].attach()
    bus.settle()
    assert not bus.nodes[1].quorate
    assert "Waiting for all cluster members. Current votes: 1 expected_votes: 2" in bus.nodes[1].notes


# -- requests


def test_expected_votes_are_set_on_every_node() -> None:
    bus = cluster(5)
    bus.heal()
    bus.partition((1, 2, 3), (4, 5))
    node = bus.nodes[2]
    node.engine.expect("me", 7, 3)  # type: ignore[union-attr]
    node.carry_out()
    assert node.answers == [], "not before it has its place"
    bus.settle()
    assert node.answers == [("me", 7, None)]
    assert {bus.nodes[each].tally.quorum for each in (1, 2, 3)} == {2}
    assert bus.nodes[4].tally.quorum == 3


def test_refusals_reach_who_asked() -> None:
    bus = cluster(3)
    bus.heal()
    node = bus.nodes[1]
    assert node.engine is not None
    node.engine.expect("me", 1, 2)
    node.engine.grant("me", 2, 9, 1)
    node.carry_out()
    bus.settle()
    assert [(request, type(error)) for _, request, error in node.answers] == [(1, InvalidArgument), (2, NotFound)]
    assert bus.nodes[2].answers == []


def test_votes_of_another_node_are_set_and_kept_while_it_runs() -> None:
    bus = cluster(3)
    bus.heal()
    bus.nodes[1].engine.grant("me", 1, 3, 4)  # type: ignore[union-attr]
    bus.nodes[1].carry_out()
    bus.settle()
    assert {node.tally.total for node in bus.nodes.values()} == {6}
    bus.partition((1, 2), (3,))
    assert quorate(bus) == {3}
    bus.nodes[3].kill_service()
    bus.nodes[3].start_service()
    bus.heal()
    assert {node.tally.total for node in bus.nodes.values()} == {6}


def test_requests_without_a_ring_or_too_many_are_to_be_repeated() -> None:
    bus = cluster(1)
    bus.heal()
    node = bus.nodes[1]
    assert node.engine is not None
    for number in range(PENDING_MAX):
        node.engine.expect("me", number, 1)
    with pytest.raises(TryAgain):
        node.engine.expect("me", PENDING_MAX, 1)
    node.crash()
    assert len(node.answers) == PENDING_MAX and isinstance(node.answers[0][2], TryAgain)
    with pytest.raises(TryAgain):
        node.engine.cancel_wait("me", 1)


def test_waiting_is_cancelled_on_every_node() -> None:
    bus = cluster(3, Rules(wait_for_all=True))
    bus.partition((1, 2), (3,))
    assert quorate(bus) == set()
    bus.nodes[1].engine.cancel_wait(None, 0)  # type: ignore[union-attr]
    bus.nodes[1].carry_out()
    bus.settle()
    assert quorate(bus) == {1, 2}
    assert "wait_for_all_status reset by user on node 1." in bus.nodes[2].notes


def test_a_reload_is_counted_on_every_node() -> None:
    bus = cluster(3)
    bus.heal()
    for node in bus.nodes.values():
        assert node.engine is not None
        node.engine.reconfigure(Own(1, 7, Rules()))
        node.carry_out()
    bus.settle()
    assert quorate(bus) == set() and bus.nodes[1].tally.quorum == 4
    bus.nodes[1].engine.reconfigure(Own(2, 3, Rules()))  # type: ignore[union-attr]
    bus.nodes[1].carry_out()
    bus.settle()
    assert quorate(bus) == {1, 2, 3} and bus.nodes[3].tally.expected == 4


# -- time


def test_the_window_must_pass_without_a_change() -> None:
    bus = cluster(5, Rules(last_man_standing=True, last_man_standing_window=10_000))
    bus.heal()
    bus.partition((1, 2, 3, 4), (5,))
    bus.pass_time(9)
    bus.partition((1, 2, 3), (4,))
    bus.pass_time(9)
    assert bus.nodes[1].tally.expected == 5
    bus.pass_time(1)
    assert {bus.nodes[each].tally.expected for each in (1, 2, 3)} == {3}
    bus.partition((1, 2), (3,))
    assert quorate(bus) == {1, 2}
    assert {bus.nodes[each].tally.expected for each in (4, 5)} == {5}, "they have no quorum"


def test_a_recount_that_meets_another_change_on_its_way_is_void() -> None:
    bus = cluster(5, Rules(last_man_standing=True, last_man_standing_window=10_000))
    bus.heal()
    bus.partition((1, 2, 3, 4), (5,))
    bus.now += 10
    for node in bus.nodes.values():
        node.tick()
    assert any(node.application_lane for node in bus.nodes.values()), "it is on its way"
    bus.partition((1, 2, 3), (4,))
    assert bus.nodes[1].tally.expected == 5, "the window begins anew"
    bus.pass_time(10)
    assert bus.nodes[1].tally.expected == 3


def test_a_recount_behind_the_end_of_a_quorum_process_is_void() -> None:
    bus = cluster(5, Rules(last_man_standing=True, last_man_standing_window=10_000))
    bus.heal()
    bus.partition((1, 2, 3, 4), (5,))
    bus.nodes[4].kill_service()
    bus.nodes[4].originate()
    bus.pass_time(10)
    assert bus.nodes[1].tally.ballot == {1: 1, 2: 1, 3: 1} and bus.nodes[1].tally.expected == 5
    bus.pass_time(10)
    assert bus.nodes[1].tally.expected == 3


def test_what_a_dead_quorum_process_left_in_a_queue_is_void() -> None:
    bus = cluster(5)
    bus.heal()
    bus.partition((1, 2, 3), (4, 5))
    node = bus.nodes[1]
    node.engine.expect("me", 1, 3)  # type: ignore[union-attr]
    node.carry_out()
    node.kill_service()
    node.start_service()
    node.attach()
    bus.settle()
    assert {bus.nodes[each].tally.expected for each in (1, 2, 3)} == {5}


def test_nothing_is_recounted_where_nobody_was_lost() -> None:
    bus = cluster(5, Rules(last_man_standing=True))
    bus.partition((1, 2, 3))
    assert bus.nodes[1].quorate
    bus.pass_time(3600)
    assert bus.nodes[1].tally.expected == 5


# -- leaving, tracking


def test_clean_leavers_lower_what_is_expected() -> None:
    bus = cluster(5, Rules(allow_downscale=True), expected=3)
    bus.heal()
    node = bus.nodes[5]
    assert node.engine is not None and node.engine.stop() and not node.engine.has_left
    node.carry_out()
    bus.settle()
    assert node.engine.has_left and bus.nodes[1].tally.expected == 4
    node.crash()
    bus.partition((1, 2, 3, 4))
    assert bus.nodes[1].tally.expected == 4


def test_without_downscale_there_is_nothing_to_wait_for_at_a_stop() -> None:
    bus = cluster(1)
    bus.heal()
    assert bus.nodes[1].engine is not None and not bus.nodes[1].engine.stop()


def test_the_highest_expected_votes_are_tracked_and_hold_after_a_restart() -> None:
    bus = cluster(5, Rules(allow_downscale=True), expected=3, tracking=True)
    bus.heal()
    assert {node.tracked for node in bus.nodes.values()} == {5}
    for each in (4, 5):
        bus.nodes[each].crash()
        bus.nodes[each].boot()
        bus.nodes[each].attach()
    bus.partition((4, 5), (1, 2, 3))
    assert quorate(bus) == {1, 2, 3} and bus.nodes[4].tally.expected == 5


def test_a_memory_is_not_believed_when_others_have_gone_on() -> None:
    """Its record says quorate; alone it is not."""
    bus = cluster(3)
    bus.heal()
    record = bus.nodes[1].memory
    assert isinstance(record, Record) and record.quorate
    bus.partition((1,), (2, 3))
    node = bus.nodes[1]
    node.kill_service()
    node.memory = record
    node.start_service()
    node.attach()
    bus.settle()
    assert not node.quorate


def test_bytes_that_are_no_order_are_counted_and_dropped() -> None:
    bus = cluster(1)
    bus.heal()
    engine = bus.nodes[1].engine
    assert engine is not None
    for payload in (b"", b"\x07\x00\x00", enclose(Kind.APPLICATION, b"\xc1"), enclose(Kind.STATE, b"\x90")):
        engine.event(Delivered(1, RingId(4, 1), 9), payload, 0.0)
    assert engine.malformed == 4 and engine.quorate


# -- storms


KINDS = {
    "plain": Rules(),
    "wait": Rules(wait_for_all=True),
    "last": Rules(last_man_standing=True, last_man_standing_window=500, wait_for_all=True),
    "tie": Rules(tie_breaker="lowest", wait_for_all=True),
    "list": Rules(tie_breaker="4 2 3", wait_for_all=True),
    "all": Rules(False, True, True, 500, "highest", True),
    "even": Rules(tie_breaker="highest"),
    "two": Rules(two_node=True, wait_for_all=True),
}


def request(bus: Bus, chance: random.Random) -> None:
    node = chance.choice(list(bus.nodes.values()))
    if node.engine is None or not node.engine.attached:
        return
    size = len(bus.nodes)
    match chance.randrange(4):
        case 0:
            node.engine.grant("storm", 1, chance.randint(1, size), chance.randrange(3))
        case 1:
            node.engine.cancel_wait("storm", 1)
        case 2:
            node.engine.reconfigure(Own(chance.randrange(3), size, node.own.rules, node.own.tracking))
        case _:
            node.engine.expect("storm", 1, chance.randint(1, 2 * size))
    node.carry_out()


def fault(bus: Bus, chance: random.Random) -> None:
    node = chance.choice(list(bus.nodes.values()))
    ids = set(bus.nodes)
    if not node.up:
        node.boot() if chance.random() < 0.5 else node.start_totem()
    elif node.engine is None:
        node.start_service()
    elif not node.attached:
        node.attach()
    else:
        match chance.randrange(8):
            case 0 | 1 | 2 | 3:
                component = {each for each in ids if chance.random() < 0.7} | {node.node_id}
                bus.regroup(component, chance.randrange(6), chance.randrange(6))
                bus.regroup(ids - component, chance.randrange(6), chance.randrange(6))
            case 4:
                node.crash()
                bus.regroup(ids, chance.randrange(6), chance.randrange(6))
            case 5:
                node.kill_service()
            case 6:
                bus.regroup(ids, chance.randrange(6), chance.randrange(6))
            case _:
                bus.now += chance.random()
                for each in bus.nodes.values():
                    each.tick()


def storm(seed: int, kind: str, *, by_hand: bool) -> Bus:
    """Faults at any moment.  Without changes *by hand* no two sides at rest are quorate, except with two_node."""
    chance = random.Random(seed)
    size = chance.choice({"two": (2,), "even": (2, 4)}.get(kind, (3, 4, 5)))
    bus = Bus({node: Own(1, size, KINDS[kind], chance.random() < 0.5) for node in range(1, size + 1)})
    bus.heal()
    for _ in range(250):
        for node in bus.nodes.values():
            for step in (node.originate, node.deliver, node.serve):
                if chance.random() < 0.5:
                    step()
        match chance.randrange(30):
            case 0 | 1:
                fault(bus, chance)
            case 2 if by_hand:
                request(bus, chance)
            case 3 if chance.random() < 0.3:
                bus.settle()
                if not by_hand and kind != "two":
                    one_side_at_most(bus)
    return bus


def one_side_at_most(bus: Bus) -> None:
    sides = {
        node.ring.ring_id
        for node in bus.nodes.values()
        if node.up and node.engine is not None and node.engine.synchronised and node.quorate
    }
    assert len(sides) <= 1, {node_id: node.engine and node.engine.tally for node_id, node in bus.nodes.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by_hand", [False, True])
def test_storms(kind: str, by_hand: bool) -> None:
    for seed in range(25):
        try:
            bus = storm(seed, kind, by_hand=by_hand)
            bus.heal()
            assert len({str(node.tally) for node in bus.nodes.values()}) == 1
        except AssertionError as error:
            raise AssertionError(f"storm({seed}, {kind!r}, by_hand={by_hand}): {error}") from error
