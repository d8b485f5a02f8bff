"""The supervisor's decisions: scenarios as tables, invariants under any sequence of events."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from totemd.executive.config.model import QuorumOptions
from totemd.executive.supervisor.actions import (
    Action,
    AskAlive,
    AskToStop,
    Exit,
    Initialised,
    Kill,
    Quit,
    ReportEnded,
    ReportPause,
    ReportReady,
    Spawn,
)
from totemd.executive.supervisor.exits import ExitCode
from totemd.executive.supervisor.plan import KILL_SECONDS, ChildState, Plan, RestartHistory
from totemd.executive.supervisor.specs import NODE, Backoff, ChildSpec, RestartIntensity, Tree, with_quorum

TREE = Tree(
    tuple(
        ChildSpec(
            name, ("-m", name), ready_seconds=10, heartbeat_seconds=1, heartbeat_deadline_seconds=4, stop_seconds=3
        )
        for name in "abc"
    ),
    RestartIntensity(restarts=3, seconds=30),
    Backoff(first_seconds=0.1, factor=2, longest_seconds=1, stable_seconds=10),
)
CRASH = Exit(signal=11)


def running(now: float = 0.0) -> Plan:
    """A plan whose three children serve."""
    plan = Plan(TREE)
    plan.begin(now)
    for name in "abc":
        plan.ready(name, now)
    return plan


def deeds(actions: list[Action]) -> list[Action]:
    """Without the reports."""
    return [action for action in actions if not isinstance(action, ReportEnded | ReportReady | ReportPause)]


def advance(plan: Plan, until: float, silent: str = "") -> list[Action]:
    """Let time pass; every deadline is kept, and every child answers except those named *silent*."""
    actions: list[Action] = []
    while (due := plan.next_deadline()) is not None and due <= until:
        actions += plan.expire(due)
        for action in actions:
            if isinstance(action, AskAlive) and action.child not in silent:
                plan.pong(action.child, action.sequence, due)
    return [action for action in actions if not isinstance(action, AskAlive)]


def test_children_start_one_after_the_other() -> None:
    plan = Plan(TREE)
    assert plan.begin(0) == [Spawn("a")]
    assert deeds(plan.ready("a", 1)) == [Spawn("b")]
    assert [child.state for child in plan.children.values()] == [
        ChildState.RUNNING,
        ChildState.STARTING,
        ChildState.WAITING,
    ]
    assert deeds(plan.ready("b", 2)) == [Spawn("c")]
    assert plan.ready("c", 3.5) == [ReportReady("c", 1.5), Initialised()]


def test_the_next_child_waits_for_one_that_has_to_be_started_again() -> None:
    plan = Plan(TREE)
    plan.begin(0)
    plan.ready("a", 1)
    plan.exited("a", CRASH, 1.5)
    assert deeds(plan.ready("b", 1.55)) == []
    assert advance(plan, 1.7) == [Spawn("a")]
    assert deeds(plan.ready("a", 2)) == [Spawn("c")]


def test_a_child_that_ends_is_started_again_and_the_others_stay() -> None:
    plan = running()
    advance(plan, 5)
    (report,) = plan.exited("b", CRASH, 5)
    assert report == ReportEnded("b", CRASH, "", 5, 0.1)
    assert plan.children["b"].state is ChildState.BACKOFF
    assert advance(plan, 5.1) == [Spawn("b")]
    assert deeds(plan.ready("b", 6)) == []
    assert plan.children["b"].restarts == 1
    assert plan.children["b"].last_exit == "signal 11 (SIGSEGV)"


def test_initialised_is_said_once() -> None:
    plan = running()
    plan.exited("c", CRASH, 5)
    advance(plan, 6)
    assert Initialised() not in plan.ready("c", 7)


def test_pauses_grow_and_a_stable_run_forgives() -> None:
    pauses, now = [], 0.0
    plan = running()
    for uptime in (1, 1, 50, 1):
        now += uptime
        ended = plan.exited("a", CRASH, now)[0]
        assert isinstance(ended, ReportEnded)
        assert ended.restart_in_seconds is not None
        pauses.append(ended.restart_in_seconds)
        now += ended.restart_in_seconds
        plan.expire(now)
        plan.ready("a", now)
    assert pauses == [0.1, 0.2, 0.1, 0.1]


@pytest.mark.parametrize(("failures", "pause"), [(0, 0.1), (1, 0.1), (2, 0.2), (4, 0.8), (5, 1.0), (10_000, 1.0)])
def test_backoff(failures: int, pause: float) -> None:
    assert TREE.backoff.pause(failures) == pytest.approx(pause)


def test_too_many_restarts_stop_the_tree_in_reverse_order() -> None:
    plan = running()
    now = 1.0
    for _ in range(3):
        plan.exited("a", CRASH, now)
        now += 2
        plan.expire(now)
        plan.ready("a", now)
    report, first = plan.exited("a", CRASH, now)
    assert isinstance(report, ReportEnded)
    assert report.restart_in_seconds is None
    assert first == AskToStop("c")
    assert plan.exited("c", Exit(), now + 1) == [AskToStop("b")]
    (quit,) = plan.exited("b", Exit(), now + 1)
    assert isinstance(quit, Quit)
    assert quit.code is ExitCode.FAILED
    assert "3 restarts in 30 s" in quit.because
    assert "a ended again (signal 11 (SIGSEGV))" in quit.because


def test_a_child_that_is_never_ready_is_killed() -> None:
    plan = Plan(TREE)
    plan.begin(0)
    assert advance(plan, 10) == [Kill("a", "not ready 10 s after its start")]
    (ended,) = plan.exited("a", Exit(signal=9), 10.1)
    assert isinstance(ended, ReportEnded)
    assert ended.because == "not ready 10 s after its start"
    assert ended.restart_in_seconds == 0.1  # it failed, though it did not end quickly


def test_heartbeats_are_asked_for_and_a_silent_child_is_killed() -> None:
    plan = running()
    assert plan.expire(1) == [AskAlive(name, 1) for name in "abc"]
    for name in "bc":
        plan.pong(name, 1, 1.1)
    assert plan.next_deadline() == 2
    assert advance(plan, 5, silent="a") == [Kill("a", "no heartbeat for 4 s")]
    assert plan.children["b"].state is plan.children["c"].state is ChildState.RUNNING
    assert deeds(plan.exited("a", Exit(signal=9), 5.1)) == []
    assert Spawn("a") in advance(plan, 5.3)


def test_a_late_pong_of_an_earlier_ping_does_not_count() -> None:
    plan = running()
    plan.expire(1)
    plan.pong("a", 0, 1.5)
    assert plan.children["a"].ping_sent_at == 1


def test_a_pause_of_the_executive_is_not_held_against_its_children() -> None:
    """SIGSTOP of a whole node, a suspended machine: afterwards nobody has had time to answer."""
    plan = running()
    plan.expire(1)
    assert plan.expire(61) == [ReportPause(56)]
    assert plan.children["a"].state is ChildState.RUNNING
    assert plan.next_deadline() == 65
    assert advance(plan, 65, silent="abc") == [Kill(name, "no heartbeat for 4 s") for name in "abc"]


def test_stop_is_in_reverse_order_and_each_waits_for_the_one_after_it() -> None:
    plan = running()
    assert plan.stop(1) == [AskToStop("c")]
    assert plan.stop(1.1) == []
    assert plan.exited("c", Exit(), 1.2) == [AskToStop("b")]
    assert plan.exited("b", Exit(), 1.3) == [AskToStop("a")]
    assert plan.exited("a", Exit(), 1.4) == [Quit(ExitCode.DONE, "asked to stop")]
    assert {child.state for child in plan.children.values()} == {ChildState.STOPPED}
    assert plan.next_deadline() is None


def test_a_child_that_is_about_it_gets_its_time_anew() -> None:
    plan = running()
    plan.stop(1)
    assert plan.still_stopping("c", 3) == []
    child, other = plan.children["c"], plan.children["a"]
    assert child.deadline == 3 + child.spec.stop_seconds
    before = other.deadline
    assert plan.still_stopping("a", 3) == []
    assert other.deadline == before, "nobody has asked it to stop"
    assert Kill("c", "not stopped after 3 s") in advance(plan, 6)
    assert plan.still_stopping("c", 6.1) == []
    assert child.deadline == 6 + KILL_SECONDS, "it is killed all the same"


def test_a_tree_that_failed_says_so() -> None:
    stopped, failed = running(), running()
    stopped.stop(1)
    failed.stop(1, ExitCode.FAILED, "too often")
    assert (stopped.has_failed, failed.has_failed, running().has_failed) == (False, True, False)


def test_stop_during_the_start() -> None:
    plan = Plan(TREE)
    plan.begin(0)
    plan.ready("a", 1)
    assert plan.stop(1.5) == [AskToStop("b")]
    assert plan.ready("b", 1.6) == []
    assert plan.exited("b", Exit(), 2) == [AskToStop("a")]
    assert isinstance(plan.exited("a", Exit(), 2)[0], Quit)


def test_stop_while_a_child_waits_for_its_restart() -> None:
    plan = running()
    plan.exited("c", CRASH, 1)
    assert plan.stop(1.01) == [AskToStop("b")]
    assert Spawn("c") not in advance(plan, 3)


def test_stop_before_the_start_quits_at_once() -> None:
    assert Plan(TREE).stop(0) == [Quit(ExitCode.DONE, "asked to stop")]


def test_a_child_that_does_not_stop_is_killed_and_one_that_does_not_die_is_left() -> None:
    plan = running()
    plan.stop(1)
    assert advance(plan, 4) == [Kill("c", "not stopped after 3 s")]
    actions = advance(plan, 4 + KILL_SECONDS)
    assert deeds(actions) == [AskToStop("b")]


def test_stop_while_a_hung_child_is_being_killed() -> None:
    plan = running()
    advance(plan, 5, silent="c")
    assert plan.children["c"].killed_because
    assert plan.stop(5.1) == []
    actions = plan.exited("c", Exit(signal=9), 5.2)
    assert not [action for action in actions if isinstance(action, Spawn)]


def test_fatal_stops_the_tree_with_the_reason() -> None:
    plan = running()
    assert plan.fatal("b", "no such address", 1) == [AskToStop("b"), AskToStop("c")]
    assert plan.fatal("b", "again", 1) == []
    assert plan.exited("b", Exit(code=1), 1.1) == []
    assert plan.exited("c", Exit(), 1.2) == [AskToStop("a")]
    assert plan.exited("a", Exit(), 1.3) == [Quit(ExitCode.CHILD_FAILED, "no such address")]
    assert plan.children["b"].state is ChildState.FATAL


def test_fatal_during_the_start() -> None:
    plan = Plan(TREE)
    plan.begin(0)
    assert plan.fatal("a", "bad", 0.5) == [AskToStop("a")]
    assert plan.exited("a", Exit(code=1), 0.6) == [Quit(ExitCode.CHILD_FAILED, "bad")]


def test_a_fatal_child_that_stays_is_killed() -> None:
    plan = Plan(TREE)
    plan.begin(0)
    plan.fatal("a", "bad", 0.5)
    assert advance(plan, 4) == [Kill("a", "not stopped after 3 s")]


def test_a_child_that_cannot_be_started_counts_as_ended() -> None:
    plan = Plan(TREE)
    plan.begin(0)
    (ended,) = plan.exited("a", Exit(reason="cannot be started: No such file"), 0)
    assert isinstance(ended, ReportEnded)
    assert ended.restart_in_seconds == 0.1
    assert plan.children["a"].last_exit == "cannot be started: No such file"


def test_a_crash_during_the_stop_is_reported_but_not_mended() -> None:
    plan = running()
    plan.stop(1)
    actions = plan.exited("a", CRASH, 1.1)
    assert actions == [ReportEnded("a", CRASH, "", 1.1, None)]


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (Exit(code=3), "exit code 3"),
        (Exit(signal=9), "signal 9 (SIGKILL)"),
        (Exit(signal=200), "signal 200"),
        (Exit(reason="why"), "why"),
    ],
)
def test_exit_in_words(how: Exit, text: str) -> None:
    assert str(how) == text


def test_the_node_starts_totem_first_and_gives_the_key_to_it_alone() -> None:
    assert [spec.name for spec in NODE.children] == ["totem", "cpg", "sam"]
    assert [spec.name for spec in NODE.children if spec.gets_key] == ["totem"]


def test_votes_are_counted_where_a_provider_is_named() -> None:
    assert with_quorum(NODE, QuorumOptions()) is NODE
    voting = with_quorum(NODE, QuorumOptions("corosync_votequorum"))
    assert [spec.name for spec in voting.children] == ["totem", "cpg", "quorum", "sam"]
    assert [spec.name for spec in voting.children if spec.gets_key] == ["totem"]


@given(st.lists(st.floats(0, 5), max_size=60))
def test_restart_intensity_is_never_exceeded(gaps: list[float]) -> None:
    limit = RestartIntensity(restarts=4, seconds=10)
    history, now, allowed = RestartHistory(limit), 0.0, []
    for gap in gaps:
        now += gap
        if history.allow(now):
            allowed.append(now)
    for begin in allowed:
        assert sum(begin <= time < begin + limit.seconds for time in allowed) <= limit.restarts


class World:
    """Obedient or not: processes that a plan believes in, with the invariants that hold at every step."""

    def __init__(self) -> None:
        self.plan = Plan(TREE)
        self.alive: list[str] = []
        self.asked: list[str] = []
        self.spawned_at: list[float] = []
        self.killed: set[str] = set()
        self.quits = 0
        self.now = 0.0
        self.do(self.plan.begin(0))

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            assert not self.quits, "nothing happens after the end"
            match action:
                case Spawn(name):
                    assert name not in self.alive
                    self.killed.discard(name)
                    assert not self.plan.is_stopping
                    self.alive.append(name)
                    self.spawned_at.append(self.now)
                case AskToStop(name):
                    assert name in self.alive
                    self.asked.append(name)
                case Kill(name):
                    assert name in self.alive
                    self.killed.add(name)
                case Quit():
                    assert self.killed.issuperset(self.alive)
                    self.quits += 1
                case _:
                    pass

    def exit(self, name: str) -> None:
        if name in self.alive:
            self.alive.remove(name)
            self.do(self.plan.exited(name, CRASH, self.now))


STEPS: dict[str, Callable[[World, str], None]] = {
    "ready": lambda world, name: world.do(world.plan.ready(name, world.now)) if name in world.alive else None,
    "pong": lambda world, name: world.do(world.plan.pong(name, world.plan.children[name].ping, world.now)),
    "exit": lambda world, name: world.exit(name),
    "stop": lambda world, name: world.do(world.plan.stop(world.now)),
    "fatal": lambda world, name: world.do(world.plan.fatal(name, "x", world.now)) if name in world.alive else None,
    "time": lambda world, name: world.do(world.plan.expire(world.now)),
}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.sampled_from("abc"), st.floats(0, 12)), max_size=60))
def test_whatever_happens_the_tree_keeps_its_rules_and_can_be_stopped(steps: list[tuple[str, str, float]]) -> None:
    world = World()
    for step, name, passes in steps:
        world.now += passes
        STEPS[step](world, name)
    world.do(world.plan.stop(world.now))
    asked_before = len(world.asked)
    for name in "cba":
        world.exit(name)
    assert world.quits == 1
    order = ["cba".index(name) for name in world.asked[asked_before:]]
    assert order == sorted(order)
    window = TREE.intensity.seconds
    for begin in world.spawned_at:
        within = sum(begin <= time < begin + window for time in world.spawned_at)
        # The first start of each child is no restart; a pause may move a restart into the next window's edge.
        assert within <= TREE.intensity.restarts + len(TREE.children) + 1
