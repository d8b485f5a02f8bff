"""Small rules of the core, each on its own: flow control, timers, merge back-off, the totality of the tables."""

from __future__ import annotations

import contextlib
import itertools
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.executive.config.model import Configuration, TotemOptions
from totemd.executive.totem.announcements import Down, Roster, Services, Up, decode, encode
from totemd.executive.totem.core.backoff import LinkNews, MergeBackoff
from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.flow import ROTATION_SECONDS, FlowAccount, units, whole_frames
from totemd.executive.totem.core.reactions import REACTIONS, TIMER_REACTIONS
from totemd.executive.totem.core.timers import Timer, Timers
from totemd.executive.totem.options import options_digest, ring_parameters
from totemd.executive.totem.state_file import RingSequenceFile
from totemd.executive.totem.wire.packets import FRAME_BODY_BYTES_MAX, Packet, Token
from totemd.ipc.errors import MalformedMessage, OperationFailed
from totemd.ipc.ids import RingId
from totemd.ipc.messages.stream import ServiceDown, ServiceList, ServiceUp

RING = RingId(4, 1)


def test_every_state_decides_every_packet_and_every_timer_has_a_reaction() -> None:
    assert set(REACTIONS) == set(itertools.product(RingState, Packet.__subclasses__()))
    assert set(TIMER_REACTIONS) == set(Timer)


def token(flow: int, backlog: int) -> Token:
    return Token(RING, 0, 0, 0, 0, flow, backlog, False, ())


@given(
    window=st.integers(1, 60),
    per_visit=st.integers(1, 20),
    demands=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100)), min_size=1, max_size=80),
)
def test_the_token_carries_the_sum_of_what_members_reported(
    window: int, per_visit: int, demands: list[tuple[int, int]]
) -> None:
    members = [FlowAccount(window, per_visit) for _ in range(4)]
    flow = backlog = 0
    for visit, (_, demand) in enumerate(demands):
        member = members[visit % 4]
        allowed = member.allowed(token(flow, backlog), demand)
        assert 0 <= allowed <= per_visit
        sent = min(allowed, demand)
        flow, backlog = member.settle(token(flow, backlog), sent, demand - sent)
        assert flow == sum(each.sent for each in members) <= window
        assert backlog == sum(each.reported for each in members)


def test_a_lone_sender_gets_its_whole_visit_and_a_small_one_is_not_starved() -> None:
    assert FlowAccount(50, 17).allowed(token(0, 0), 100) == 17
    assert FlowAccount(50, 17).allowed(token(0, 10_000), 1) == 1


def test_a_window_grows_while_it_is_wanted_and_shrinks_to_its_floor() -> None:
    account = FlowAccount(50, 17, growth_max=16)
    busy = {"lost": False, "wanted_more": True, "rotation_seconds": ROTATION_SECONDS / 2}
    account.adapt(**busy | {"wanted_more": False})
    assert (account.window, account.per_visit) == (50, 17), "nobody wants more"
    for _ in range(50):
        account.adapt(**busy)
    assert (account.window, account.per_visit) == (800, 272)
    assert account.allowed(token(0, 0), 10_000) == 272 and account.allowed(token(700, 0), 10_000) == 100
    account.adapt(**busy | {"lost": True})
    assert (account.window, account.per_visit) == (400, 136)
    account.adapt(**busy | {"rotation_seconds": 2 * ROTATION_SECONDS})
    assert account.window == 320
    for _ in range(20):
        account.adapt(**busy | {"lost": True})
    assert (account.window, account.per_visit) == (50, 17)


def test_a_window_that_is_configured_stays() -> None:
    account = FlowAccount(50, 17)
    account.adapt(lost=False, wanted_more=True, rotation_seconds=0.001)
    assert (account.window, account.per_visit) == (50, 17)


def test_units_round_up() -> None:
    assert [units(size, 1400) for size in (0, 1, 1400, 1401)] == [1, 1, 1, 2]


def test_a_visit_moves_as_much_in_small_frames_as_in_large_ones() -> None:
    assert [whole_frames(allowed, 16) for allowed in (0, 1, 16, 17)] == [0, 16, 16, 32]
    assert whole_frames(17, 1) == 17


def test_timers_fire_in_order_of_deadline_then_name_and_can_cancel_each_other() -> None:
    timers = Timers()
    timers.arm(Timer.MERGE, 1.0)
    timers.arm(Timer.LOSS, 2.0)
    timers.arm(Timer.JOIN, 1.0)
    timers.arm(Timer.LOSS, 1.5)
    assert timers.next_deadline() == 1.0
    assert timers.take_due(0.9) is None
    assert timers.take_due(2.0) is Timer.JOIN
    timers.cancel(Timer.MERGE)
    assert timers.take_due(2.0) is Timer.LOSS
    assert timers.take_due(2.0) is None
    assert timers.next_deadline() is None


def test_back_off_doubles_is_bounded_and_is_forgotten_after_a_good_while_together() -> None:
    backoff = MergeBackoff(first=2.0, longest=5.0)
    backoff.installed(members=[1], failed=[2], now=0.0)
    assert backoff.ignores(2, 1.9) and not backoff.ignores(2, 2.0) and not backoff.ignores(3, 1.0)
    backoff.installed([1, 2], [], 3.0)
    assert not backoff.ignores(2, 3.0)
    backoff.installed([1], [2], 4.0)  # together for less than the back-off: longer
    assert backoff.ignores(2, 7.9) and not backoff.ignores(2, 8.0)
    backoff.installed([1, 2], [], 9.0)
    backoff.installed([1], [2], 10.0)
    assert backoff.ignores(2, 14.9) and not backoff.ignores(2, 15.0)
    backoff.installed([1, 2], [], 20.0)
    backoff.installed([1], [2], 40.0)
    assert not backoff.ignores(2, 42.0)


def test_links_that_were_broken_and_work_again_end_the_back_off_once() -> None:
    backoff = MergeBackoff(first=8.0, longest=50.0)
    assert not backoff.link_seen(2, 0.0, apart=False, after_silence=True), "nobody backs off from it"
    backoff.installed([1], [2], 0.0)
    assert not backoff.link_seen(2, 1.0, apart=False, after_silence=False), "they worked all the time"
    assert backoff.ignores(2, 1.0)
    assert backoff.link_seen(2, 2.0, apart=False, after_silence=True), "it was silent"
    assert not backoff.ignores(2, 2.0)
    assert not backoff.link_seen(2, 3.0, apart=False, after_silence=False), "once"
    backoff.installed([1, 2], [], 4.0)
    backoff.installed([1], [2], 5.0)
    assert backoff.ignores(2, 5.0 + 15.0), "what was learnt about the node stays"
    news = [backoff.link_seen(2, at, apart=True, after_silence=False) for at in (6.0, 13.0, 14.0, 14.5)]
    assert news == [None, None, LinkNews.APART, None], "told once, when it has lasted"
    assert backoff.link_seen(2, 15.0, apart=False, after_silence=False) is LinkNews.MENDED
    backoff.installed([1, 2], [], 16.0)
    backoff.installed([1], [2], 17.0)
    assert not backoff.link_seen(2, 18.0, apart=True, after_silence=False)
    assert not backoff.link_seen(2, 19.0, apart=False, after_silence=False), "for a moment only: no proof"
    assert backoff.ignores(2, 19.0)


def test_a_ring_that_is_apart_is_left_alone_until_that_changes() -> None:
    backoff = MergeBackoff(first=2.0, longest=50.0)
    backoff.link_seen(2, 0.0, apart=True, after_silence=False)
    assert not backoff.ignores(2, 0.0), "nobody has failed with it yet"
    backoff.installed([1, 3], [2], 0.0)
    backoff.link_seen(2, 1.0, apart=True, after_silence=False)
    assert backoff.ignores(2, 1_000.0) and not backoff.ignores_joins(2, 1_000.0)
    assert not backoff.link_seen(2, 1_000.0, apart=False, after_silence=False), "the back-off was over anyway"
    assert not backoff.ignores(2, 1_000.0)


def test_joins_of_the_attempt_before_are_told_from_those_of_a_new_one() -> None:
    backoff = MergeBackoff(first=2.0, longest=50.0, unaware=3.0)
    assert not backoff.is_unaware(2, (1, 2, 3), 0.0)
    backoff.installed([1, 3], [2], 0.0)
    assert backoff.is_unaware(2, (1, 2, 3), 2.9) and backoff.is_unaware(2, (1, 2, 3, 4), 2.9)
    assert not backoff.is_unaware(2, (1, 2, 3), 3.0), "it has noticed by now"
    assert not backoff.is_unaware(2, (2,), 1.0) and not backoff.is_unaware(2, (1, 2), 1.0), "it was started again"
    assert not backoff.is_unaware(3, (1, 2, 3), 1.0), "it was not excluded"
    backoff.link_seen(2, 1.0, apart=True, after_silence=False)
    assert not backoff.is_unaware(2, (1, 2, 3), 1.0), "it has a ring of its own"


def test_a_deaf_node_is_kept_away_with_its_joins_until_it_has_been_well_for_long() -> None:
    backoff = MergeBackoff(first=2.0, longest=50.0, relapse=10.0)
    backoff.installed([1], [2, 3], 0.0, deaf=frozenset({2, 9}))
    assert backoff.ignores_joins(2, 1.9) and not backoff.ignores_joins(2, 2.0)
    assert backoff.ignores(3, 1.9) and not backoff.ignores_joins(3, 1.9)
    backoff.installed([1, 2], [], 3.0)
    backoff.installed([1], [2], 14.0, deaf=frozenset({2}))  # it took us 11 seconds to notice: no better than before
    assert backoff.ignores_joins(2, 17.9) and not backoff.ignores_joins(2, 18.0)
    backoff.installed([1, 2], [], 20.0)
    backoff.installed([1], [2], 34.0, deaf=frozenset({2}))
    assert not backoff.ignores_joins(2, 36.0)


def test_the_ring_sequence_survives_and_damage_is_refused(tmp_path: Path) -> None:
    file = RingSequenceFile(tmp_path / "state", 7)
    assert file.read() == 0
    file.write(42)
    assert (file.read(), file.path.name) == (42, "ringid_7")
    assert file.path.read_bytes() == struct.pack("=Q", 42)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.path.parent.iterdir()] == ["ringid_7"]
    file.path.write_bytes(b"short")
    with pytest.raises(OperationFailed, match="5 bytes instead of 8"):
        file.read()
    file.path.write_bytes(b"\xff" * 8)
    with pytest.raises(OperationFailed, match="cannot be a ring sequence"):
        file.read()


def test_a_ring_sequence_that_cannot_be_stored_keeps_the_old_one(tmp_path: Path) -> None:
    file = RingSequenceFile(tmp_path, 7)
    file.write(1)
    (tmp_path / "ringid_7.new").mkdir()
    with pytest.raises(OperationFailed, match="cannot be stored"):
        file.write(2)
    assert file.read() == 1


def test_roster_turns_announcements_into_events() -> None:
    roster, other = Roster(), RingId(8, 1)
    assert roster.delivered(1, RING, Services(RING, ("cpg",))) == ServiceList(1, RING, ("cpg",))
    assert roster.delivered(2, RING, Services(other, ("cpg",))) is None
    assert roster.delivered(1, RING, Down(RING, "cpg")) == ServiceDown(1, "cpg", RING, 1)
    assert roster.delivered(1, RING, Down(RING, "cpg")) is None
    assert roster.delivered(1, RING, Up(RING, "cpg")) == ServiceUp(1, "cpg", RING, 2)
    assert roster.services == {1: ("cpg",)}
    roster.new_ring()
    assert roster.services == {}
    assert roster.delivered(1, RING, Up(RING, "cpg")) == ServiceUp(1, "cpg", RING, 1)


@given(st.binary(max_size=60))
def test_any_announcement_is_decoded_or_refused(payload: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        assert decode(encode(decode(payload))) == decode(payload)


def test_parameters_come_from_the_configuration_in_seconds() -> None:
    configuration = Configuration(totem=TotemOptions(token=4300, consensus=5160, token_warning=50))
    parameters = ring_parameters(configuration, unit_bytes=1400)
    assert (parameters.token, parameters.consensus, parameters.token_warning) == (4.3, 5.16, 2.15)
    assert parameters.heartbeat == 0.0
    assert parameters.frame_bytes < FRAME_BODY_BYTES_MAX
    assert options_digest(configuration) != options_digest(Configuration())


def test_a_heartbeat_that_would_be_slower_than_the_token_timeout_is_off() -> None:
    on = TotemOptions(token=3000, token_retransmit=714, heartbeat_failures_allowed=2, max_network_delay=50)
    off = TotemOptions(token=3000, token_retransmit=714, heartbeat_failures_allowed=5)
    assert ring_parameters(Configuration(totem=on), 1400).heartbeat == pytest.approx(1.478)
    assert ring_parameters(Configuration(totem=off), 1400).heartbeat == 0.0
