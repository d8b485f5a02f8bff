"""The arithmetic of votes: the man page's examples as tables, and what must hold whatever happens."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from totemd.executive.config.model import QuorumDevice, QuorumOptions
from totemd.ipc.errors import InvalidArgument, NotFound
from totemd.ipc.ids import RingId
from totemd.ipc.messages.quorum import VOTES_MAX
from totemd.ipc.messages.stream import Epoch
from totemd.services.quorum.rules import Rules, common, configured
from totemd.services.quorum.votes import Tally, breaks_tie, decided, is_enough, merged, quorum_of
from totemd.services.quorum.wire import Record, Reloaded

PLAIN = Rules()
TWO_NODE = Rules(two_node=True, wait_for_all=True)
WAIT = Rules(wait_for_all=True)
LAST = Rules(last_man_standing=True)
LOWEST = Rules(tie_breaker="lowest")


def records(nodes: object, expected: int, rules: Rules = PLAIN, votes: int = 1) -> dict[int, Record]:
    """Nodes that have just been started."""
    return {node: Record(node, votes, expected, expected, rules) for node in nodes}  # type: ignore[attr-defined]


def started(nodes: object, expected: int, rules: Rules = PLAIN, votes: int = 1) -> Tally:
    """They come together."""
    return merged(records(nodes, expected, rules, votes))


def carry(tally: Tally, number: int = 1) -> dict[int, Record]:
    """What each node would bring to the next exchange, after exchange *number*."""
    epoch = Epoch(RingId(4 * number, 1), 0)
    return {
        node: Record(
            node, voter.votes, tally.expected, tally.floor, voter.rules, tally.waiting, tally.quorate,
            dict(tally.seen), epoch,
        )
        for node, voter in tally.voters.items()
    }  # fmt: skip


def part(tally: Tally, nodes: object, number: int = 1) -> Tally:
    """Some of the nodes find themselves alone."""
    brought = carry(tally, number)
    return merged({node: brought[node] for node in nodes})  # type: ignore[attr-defined]


# -- majority


@pytest.mark.parametrize(
    ("expected", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (8, 5), (VOTES_MAX, 2**31)]
)
def test_more_than_half_is_needed(expected: int, quorum: int) -> None:
    assert quorum_of(expected, expected, PLAIN) == quorum


@pytest.mark.parametrize(("present", "quorate"), [(4, False), (5, True), (8, True)])
def test_eight_nodes_are_quorate_from_five_on(present: int, quorate: bool) -> None:
    tally = started(range(1, present + 1), 8)
    assert (tally.quorate, tally.quorum, tally.total, tally.expected) == (quorate, 5, present, 8)


def test_quorum_never_drops_by_itself() -> None:
    tally = started(range(1, 9), 8)
    for node in range(8, 5, -1):
        tally = tally.gone(node)
        assert (tally.expected, tally.quorum, tally.quorate) == (8, 5, True)
    assert not tally.gone(5).quorate


def test_votes_that_appear_raise_what_is_expected() -> None:
    tally = started(range(1, 6), 3)
    assert (tally.expected, tally.quorum) == (5, 3)
    assert part(tally, (1, 2)).quorate is False


def test_a_node_may_have_several_votes_or_none() -> None:
    brought = {**records((1,), 5, votes=3), **records((2,), 5, votes=0)}
    assert merged(brought).quorate
    assert not merged(records((2,), 5, votes=0)).quorate
    assert not started((1,), 0, votes=0).quorate, "nobody has a vote"


# -- two_node


def test_either_of_two_nodes_goes_on() -> None:
    both = started((1, 2), 2, TWO_NODE)
    assert both.quorate and both.quorum == 1
    assert part(both, (1,)).quorate and part(both, (2,)).quorate


def test_one_of_two_nodes_waits_for_the_other_after_its_start() -> None:
    alone = started((1,), 2, TWO_NODE)
    assert not alone.quorate and alone.waits_for_all
    assert started((1,), 2, Rules(two_node=True)).quorate, "wait_for_all: 0 is possible"


def test_a_third_node_switches_two_node_off() -> None:
    three = started((1, 2, 3), 2, TWO_NODE)
    assert (three.expected, three.quorum) == (3, 2)
    assert not part(three, (1,)).quorate


def test_two_node_holds_only_where_all_have_it() -> None:
    brought = {**records((1,), 2, Rules(two_node=True)), **records((2,), 2)}
    assert merged(brought).quorum == 2


# -- wait_for_all


def test_all_eight_are_waited_for_once() -> None:
    assert not started(range(1, 8), 8, WAIT).quorate
    full = started(range(1, 9), 8, WAIT)
    assert full.quorate
    assert part(full, range(1, 6)).quorate


def test_a_node_that_comes_to_a_quorate_cluster_does_not_wait() -> None:
    five = part(started(range(1, 9), 8, WAIT), range(1, 6))
    assert merged({**carry(five, 2), **records((6,), 8, WAIT)}).quorate


def test_waiting_begins_anew_when_quorum_is_lost() -> None:
    four = part(started(range(1, 9), 8, WAIT), range(1, 5))
    assert not four.quorate and four.waiting
    assert not merged({**carry(four, 2), **records((5,), 8, WAIT)}).quorate


def test_waiting_can_be_cancelled_where_there_is_a_majority() -> None:
    five = started(range(1, 6), 8, WAIT)
    assert not five.quorate and five.cancel_wait().quorate
    four = started(range(1, 5), 8, WAIT).cancel_wait()
    assert not four.quorate and four.waiting


def test_who_was_quorate_and_cut_off_cannot_end_the_waiting() -> None:
    """The others may have gone on without it."""
    full = started(range(1, 6), 5, WAIT)
    brought = {5: carry(full)[5], **records((1, 2), 5, WAIT)}
    assert not merged(brought).quorate


# -- last_man_standing


def test_from_eight_to_two_one_loss_after_another() -> None:
    tally = started(range(1, 9), 8, LAST)
    for survivors, before, after in ((5, 5, 3), (3, 3, 2), (2, 2, 2)):
        tally = part(tally, range(1, survivors + 1))
        assert tally.quorate and tally.quorum == before
        tally = tally.recount()
        assert (tally.expected, tally.quorum) == (survivors, after)
    assert not part(tally, (1,)).quorate


def test_the_last_man_needs_the_tie_breaker() -> None:
    rules = Rules(last_man_standing=True, tie_breaker="lowest")
    two = started((1, 2), 2, rules)
    one = part(two, (1,))
    assert one.quorate and one.can_be_recounted
    assert (one.recount().expected, one.recount().quorate) == (1, True)
    assert not part(two, (2,)).quorate


def test_nothing_is_recounted_without_quorum_or_with_unequal_votes() -> None:
    lost = part(started(range(1, 9), 8, LAST), range(1, 5))
    assert lost.recount() is lost
    unequal = part(started(range(1, 4), 6, LAST, votes=2), (1, 2))
    assert unequal.quorate and unequal.recount() is unequal


def test_a_node_that_comes_back_takes_over_what_is_expected_now() -> None:
    three = part(part(started(range(1, 9), 8, LAST), range(1, 6)).recount(), (1, 2, 3)).recount()
    assert three.expected == 3
    back = merged({**carry(three, 3), **records((8,), 8, LAST)})
    assert (back.expected, back.quorate) == (4, True)


def test_who_is_cut_off_does_not_hand_on_what_it_expects() -> None:
    """With wait_for_all, as the man page advises: node 3 of a cluster that went down to 3, 4, 5 meets 1 and 2."""
    rules = Rules(last_man_standing=True, wait_for_all=True)
    full = started(range(1, 6), 5, rules)
    three = part(full, (3, 4, 5)).recount()
    two = part(full, (1, 2))
    others = part(three, (4, 5), 2)
    mixed = merged({**carry(two, 2), 3: carry(three, 2)[3]})
    assert others.quorate and not mixed.quorate


# -- auto_tie_breaker


@pytest.mark.parametrize(
    ("breaker", "winner"),
    [("lowest", (1, 2, 3, 4)), ("highest", (5, 6, 7, 8)), ("1 3 5", (1, 2, 3, 4)), ("6 1", (5, 6, 7, 8)), ("9", ())],
)
def test_half_of_eight_is_enough_with_the_tie_breaker(breaker: str, winner: tuple[int, ...]) -> None:
    full = started(range(1, 9), 8, Rules(tie_breaker=breaker))
    for half in ((1, 2, 3, 4), (5, 6, 7, 8)):
        assert part(full, half).quorate == (half == winner)


def test_the_next_of_the_list_counts_where_the_first_was_not_there_before() -> None:
    rules = Rules(tie_breaker="1 3 5")
    seen = dict.fromkeys(range(2, 8), 1)
    assert breaks_tie({2: 1, 3: 1, 4: 1}, 6, seen, rules)
    assert not breaks_tie({5: 1, 6: 1, 7: 1}, 6, seen, rules), "3 is elsewhere"


def test_the_half_that_won_remembers_the_whole() -> None:
    half = part(started(range(1, 9), 8, LOWEST), (1, 2, 3, 4))
    assert half.quorate and set(half.seen) == set(range(1, 9))


def test_three_of_eight_are_not_enough_with_it() -> None:
    assert not part(started(range(1, 9), 8, LOWEST), (1, 2, 3)).quorate


def test_no_tie_is_broken_at_the_start() -> None:
    assert not started((1, 2), 4, LOWEST).quorate
    assert not started((1, 2), 4, Rules(tie_breaker="1 3")).quorate


def test_no_tie_is_broken_where_the_others_may_have_a_majority() -> None:
    rules = Rules(tie_breaker="lowest", wait_for_all=True)
    full = started(range(1, 6), 5, rules)
    assert not part(full, (1, 2)).quorate
    assert part(full, (3, 4, 5)).quorate


# -- allow_downscale


def test_clean_leavers_lower_what_is_expected_down_to_what_is_configured() -> None:
    rules = Rules(allow_downscale=True)
    tally = started(range(1, 14), 3, rules)
    assert tally.expected == 13
    for node, expected in [*((node, node - 1) for node in range(13, 3, -1)), (3, 3), (2, 3)]:
        tally = tally.left(node)
        assert tally.expected == expected
    assert not tally.quorate


def test_a_clean_leaver_is_only_gone_without_it() -> None:
    assert started(range(1, 6), 3).left(5).expected == 5


# -- by hand


def test_expected_votes_are_set() -> None:
    tally = started((1, 2, 3), 5)
    assert tally.expect(3).quorum == 2 and tally.expect(3).floor == 3
    lost = part(tally, (1, 2))
    assert not lost.quorate and lost.expect(2).quorate


def test_who_is_told_that_the_others_will_not_come_back_does_not_wait_for_them() -> None:
    two = part(part(started((1, 2, 3, 4), 4, WAIT), (1, 2)), (1, 2), 2)
    assert not two.quorate and not two.expect(3).quorate
    assert two.expect(2).quorate
    reload = Reloaded(1, 1, None, 2, WAIT)
    assert two.reloaded(1, reload).quorate


def test_the_weaker_half_does_not_win_by_being_told_what_it_expects_anyway() -> None:
    half = part(started((1, 2, 3, 4), 4, LOWEST), (3, 4))
    assert not half.quorate and not half.expect(4).quorate


@pytest.mark.parametrize("votes", [0, 2, 6, VOTES_MAX])
def test_expected_votes_that_are_refused(votes: int) -> None:
    with pytest.raises(InvalidArgument, match=f"expected votes {votes}: "):
        started((1, 2, 3), 5).expect(votes)


def test_the_most_that_is_offered_is_accepted() -> None:
    assert started((1, 2, 3), 5).expect(5).quorate
    assert not started((1, 2), 5).expect(VOTES_MAX).quorate, "there is no quorum to lose"


def test_votes_of_a_node_are_set() -> None:
    tally = started((1, 2, 3), 3).grant(1, 3)
    assert (tally.total, tally.expected, tally.quorum) == (5, 5, 3)
    assert tally.grant(1, 1).expected == 5, "what is expected does not drop by itself"


def test_votes_that_are_refused() -> None:
    tally = started((1, 2, 3), 5)
    with pytest.raises(NotFound, match="these are: 1 2 3"):
        tally.grant(4, 1)
    with pytest.raises(InvalidArgument, match="lose quorum"):
        tally.grant(1, 0)
    with pytest.raises(InvalidArgument, match="at most"):
        tally.grant(1, VOTES_MAX)


def test_a_reload_changes_votes_expected_votes_and_two_node() -> None:
    tally = started((1, 2), 2)
    assert tally.reloaded(1, Reloaded(1, 1, 2, None, PLAIN)).expected == 3
    assert tally.reloaded(1, Reloaded(1, 1, None, 4, PLAIN)).quorate is False
    assert tally.reloaded(1, Reloaded(1, 1, None, 1, PLAIN)).expected == 2, "not below those present"
    both = tally.reloaded(1, Reloaded(1, 1, None, None, Rules(two_node=True)))
    assert both.quorum == 2 and both.reloaded(2, Reloaded(2, 1, None, None, Rules(two_node=True))).quorum == 1


# -- nodes that come together


def test_without_a_quorate_side_the_highest_expectation_holds() -> None:
    assert merged({**records((1,), 3), **records((2,), 7)}).expected == 7


def test_tracked_votes_count_only_without_a_quorate_side() -> None:
    quorate = started((1, 2), 3)
    tracked = {3: Record(3, 1, 13, 3, PLAIN)}
    assert merged({**carry(quorate), **tracked}).expected == 3
    assert not merged({**records((1, 2), 3), **tracked}).quorate


# -- the configuration


def test_two_node_and_a_tie_breaker_exclude_each_other() -> None:
    own, warnings = configured(
        QuorumOptions(expected_votes=2, two_node=True, wait_for_all=True, auto_tie_breaker=True), 1
    )
    assert not own.rules.two_node and own.rules.tie_breaker == "lowest"
    assert "two_node has been disabled" in warnings[0]


def test_two_node_is_for_two() -> None:
    own, warnings = configured(QuorumOptions(expected_votes=3, two_node=True, wait_for_all=True), 1)
    assert not own.rules.two_node and "3 votes are expected" in warnings[0]


@pytest.mark.parametrize(("wait", "breaker"), [(False, ""), (True, "highest")])
def test_an_odd_cluster_with_a_tie_breaker_needs_wait_for_all(wait: bool, breaker: str) -> None:
    options = QuorumOptions(expected_votes=5, auto_tie_breaker=True, auto_tie_breaker_node="highest", wait_for_all=wait)
    own, warnings = configured(options, 1)
    assert own.rules.tie_breaker == breaker and bool(warnings) is not wait


def test_downscaling_tracks_and_devices_are_refused_in_words() -> None:
    own, warnings = configured(QuorumOptions(allow_downscale=True, device=QuorumDevice("net")), 3)
    assert own.tracking and own.votes == 3 and "not supported" in warnings[0]


def test_what_makes_quorum_easier_needs_everybody() -> None:
    easy = Rules(True, False, True, 5, "lowest", True)
    assert common([easy, PLAIN]) == Rules(last_man_standing_window=10_000)
    assert common([easy, WAIT]).wait_for_all
    assert common([easy, easy]) == easy


# -- whatever happens


breakers = st.sampled_from(["", "lowest", "highest", "2", "4 1", "3 9 2"])
rules_of_all = st.builds(
    Rules,
    wait_for_all=st.booleans(),
    last_man_standing=st.booleans(),
    tie_breaker=breakers,
    allow_downscale=st.booleans(),
)
electorates = st.dictionaries(st.integers(1, 8), st.integers(0, 3), min_size=1, max_size=8)


@given(votes=electorates, extra=st.integers(0, 6), rules=rules_of_all, data=st.data())
@settings(max_examples=400, deadline=None, derandomize=True, database=None)
def test_two_disjoint_sides_of_one_configuration_are_never_both_quorate(
    votes: dict[int, int], extra: int, rules: Rules, data: st.DataObject
) -> None:
    """Also with a tie breaker, where each side has the same memory of the whole."""
    expected = sum(votes.values()) + extra
    whole = merged({node: Record(node, own, expected, expected, rules) for node, own in votes.items()})
    assume(whole.quorate)
    one = data.draw(st.sets(st.sampled_from(sorted(votes)), min_size=1, max_size=len(votes)))
    other = data.draw(st.sets(st.sampled_from(sorted(votes)))) - one
    assume(other)
    first, second = part(whole, one), part(whole, other)
    assert not (first.quorate and second.quorate)
    assert not (first.recount().quorate and second.recount().quorate)


@given(votes=electorates, present=st.sets(st.integers(1, 8)), rules=rules_of_all)
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_a_tie_is_broken_for_one_side_only(votes: dict[int, int], present: set[int], rules: Rules) -> None:
    total = sum(votes.values())
    one = {node: own for node, own in votes.items() if node in present}
    other = {node: own for node, own in votes.items() if node not in present}
    assert not (is_enough(one, total, votes, rules) and is_enough(other, total, votes, rules))


@given(votes=electorates, expected=st.integers(0, 30), rules=rules_of_all)
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_deciding_again_changes_nothing(votes: dict[int, int], expected: int, rules: Rules) -> None:
    tally = merged({node: Record(node, own, expected, expected, rules) for node, own in votes.items()})
    assert decided(tally) == tally
    assert tally.expected >= tally.total
    assert not tally.quorate or tally.total * 2 > tally.expected or rules.tie_breaker
