"""The list of applications: names, turns, orphans, and what looks from outside lead to."""

from __future__ import annotations

import pytest
from totemd.ipc.errors import InvalidArgument
from totemd.ipc.messages.control import AppInfo
from totemd.ipc.messages.sam import APP_NAME_LENGTH_MAX, AppState, Progress, Register
from totemd.sam.probe import Finding
from totemd.sam.registry import ENDED_KEPT_MAX, UNREAPED_SECONDS, App, Registry, Verdict, how_it_began

ALIVE, STOPPED, ZOMBIE, GONE = Finding.ALIVE, Finding.STOPPED, Finding.ZOMBIE, Finding.GONE


class Seen:
    """A process, as far as the list needs one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def look(self) -> Finding:
        return ALIVE

    def send(self, number: int) -> bool:
        return True


def register(name: str, *, exact: bool = True, interval_ms: int = 1000) -> Register:
    return Register(1, name, exact, "restart", interval_ms, Progress(AppState.STOPPED, 0, 0))


def running(registry: Registry, name: str, *, pid: int = 50, instance: int = 1, interval_ms: int = 1000) -> App:
    app = registry.enrol(register(name, interval_ms=interval_ms), runner_pid=pid - 1)
    registry.turn(app, Progress(AppState.RUNNING, instance, pid), Seen(pid))
    return app


def test_the_list_is_sorted_and_tells_everything() -> None:
    registry = Registry()
    running(registry, "web", pid=70, instance=3)
    running(registry, "db", pid=60)
    assert registry.infos(2) == (
        AppInfo("db", 2, 60, "running", 1, "restart"),
        AppInfo("web", 2, 70, "running", 3, "restart"),
    )


@pytest.mark.parametrize(
    ("before", "detail", "said"),
    [
        (AppState.RUNNING, "instance 1 ended", ("restarted", {"because": "instance 1 ended"})),
        (AppState.RUNNING, "", ("restarted", {})),
        (AppState.STOPPED, "", ("started", {})),
        (AppState.WAITING, "", ("started", {})),
        (AppState.FATAL, "", ("started", {})),
    ],
)
def test_the_log_tells_a_start_from_a_restart(before: AppState, detail: str, said: tuple[str, dict[str, str]]) -> None:
    assert how_it_began(Progress(before, 1, 0), Progress(AppState.RUNNING, 2, 71, detail)) == said
    assert how_it_began(Progress(before, 1, 0), Progress(AppState.RUNNING, 1, 71)) is None
    assert how_it_began(Progress(AppState.STOPPED, 0, 0), Progress(AppState.RUNNING, 1, 71)) is None


def test_a_name_is_given_once() -> None:
    registry = Registry()
    running(registry, "web", pid=70)
    with pytest.raises(InvalidArgument, match=r"'web' is supervised here already \(by sam-run with pid 69\)"):
        registry.enrol(register("web"), runner_pid=80)
    assert registry.enrol(register("web", exact=False), runner_pid=80).name == "web-80"
    assert registry.enrol(register("web", exact=False), runner_pid=80).name == "web-80-2"


def test_an_orphan_alone_is_taken_over_and_by_its_pid() -> None:
    registry = Registry()
    app = running(registry, "web", pid=70)
    heir = Register(1, "web", True, "restart", 1000, Progress(AppState.RUNNING, 1, 70), adopts=True)
    with pytest.raises(InvalidArgument, match="is supervised here already"):
        registry.enrol(heir, runner_pid=80)
    registry.leave(app, ALIVE)
    assert app.state is AppState.ORPHANED
    other = Register(1, "web", True, "restart", 1000, Progress(AppState.RUNNING, 1, 71), adopts=True)
    for refused in (other, register("web")):
        with pytest.raises(InvalidArgument, match="though its sam-run was killed"):
            registry.enrol(refused, runner_pid=80)
    assert registry.enrol(heir, runner_pid=80).adopts


def test_what_is_found_without_a_sam_run_is_an_orphan() -> None:
    registry = Registry()
    registry.rediscover("web", "quit", 4, Seen(70))
    assert registry.infos(1) == (AppInfo("web", 1, 70, "orphaned", 4, "quit"),)
    assert [app.name for app in registry.watched()] == ["web"] and registry.orphans == 1


def test_a_similar_name_is_not_too_long() -> None:
    registry = Registry()
    name = "x" * APP_NAME_LENGTH_MAX
    running(registry, name)
    other = registry.enrol(register(name, exact=False), runner_pid=1234).name
    assert len(other) == APP_NAME_LENGTH_MAX and other.endswith("x-1234")


def test_who_has_stopped_is_off_the_list() -> None:
    registry = Registry()
    app = running(registry, "web")
    registry.turn(app, Progress(AppState.STOPPED, 1, 0), None)
    registry.leave(app, GONE)
    assert registry.infos(1) == ()


def test_who_was_given_up_stays_to_be_seen_and_its_name_is_free() -> None:
    registry = Registry()
    app = running(registry, "web")
    registry.turn(app, Progress(AppState.FATAL, 4, 0), None)
    registry.leave(app, GONE)
    assert [(info.state, info.instance) for info in registry.infos(1)] == [("fatal", 4)]
    running(registry, "web")
    assert [info.state for info in registry.infos(1)] == ["running"]


def test_an_orphan_is_watched_until_it_is_lost() -> None:
    registry = Registry()
    app = running(registry, "web", pid=70)
    registry.leave(app, ALIVE)
    assert (app.state, app.progress.pid, registry.orphans) == (AppState.ORPHANED, 70, 1)
    assert registry.watched() == [app]
    with pytest.raises(InvalidArgument, match=r"still runs here \(pid 70\)"):
        registry.enrol(register("web"), runner_pid=80)
    assert app.judge(ALIVE, ALIVE, 10) is Verdict.FINE
    assert app.judge(STOPPED, ALIVE, 100) is Verdict.FINE, "nobody is there to recover it"
    assert app.judge(GONE, ALIVE, 101) is Verdict.LOST
    registry.lose(app)
    assert [(info.state, info.pid) for info in registry.infos(1)] == [("lost", 0)]
    assert registry.watched() == []
    assert registry.enrol(register("web"), runner_pid=80).name == "web"


def test_who_had_no_process_when_its_sam_run_died_is_lost() -> None:
    registry = Registry()
    app = running(registry, "web")
    registry.turn(app, Progress(AppState.BACKOFF, 1, 0), None)
    registry.leave(app, GONE)
    assert app.state is AppState.LOST


def test_the_past_is_bounded() -> None:
    registry = Registry()
    alive = running(registry, "alive")
    for number in range(ENDED_KEPT_MAX + 5):
        registry.leave(running(registry, f"app{number}"), GONE)
    assert len(registry.apps) == ENDED_KEPT_MAX + 1
    assert alive.name in registry.apps and "app4" not in registry.apps and "app5" in registry.apps


def test_a_name_that_was_reused_is_not_removed_with_its_old_owner() -> None:
    registry = Registry()
    old = running(registry, "web")
    registry.turn(old, Progress(AppState.FATAL, 4, 0), None)
    registry.leave(old, GONE)
    new = running(registry, "web")
    old.progress = Progress(AppState.STOPPED, 4, 0)
    registry.leave(old, GONE)
    assert registry.apps == {"web": new}


def test_restarts_are_counted() -> None:
    registry = Registry()
    app = running(registry, "web")
    for instance in (1, 2, 2, 5):
        registry.turn(app, Progress(AppState.RUNNING, instance, 50), Seen(50))
    assert registry.restarts == 4
    running(registry, "back", instance=7)
    assert registry.restarts == 10, "those that took place before it registered too"


# -- looks from outside


def test_stopped_for_the_interval_is_a_failure_once() -> None:
    app = running(Registry(), "web", interval_ms=1000)
    assert [app.judge(STOPPED, ALIVE, now) for now in (10.0, 10.9, 11.0, 12.0)] == [
        Verdict.FINE,
        Verdict.FINE,
        Verdict.RECOVER,
        Verdict.FINE,
    ]


def test_a_stop_that_passes_is_none() -> None:
    app = running(Registry(), "web", interval_ms=1000)
    looks = [(STOPPED, 10.0), (ALIVE, 10.5), (STOPPED, 10.9), (STOPPED, 11.8)]
    assert {app.judge(finding, ALIVE, now) for finding, now in looks} == {Verdict.FINE}


def test_a_job_that_is_stopped_as_a_whole_is_meant_to_be() -> None:
    app = running(Registry(), "web")
    assert {app.judge(STOPPED, STOPPED, now) for now in (10.0, 20.0, 30.0)} == {Verdict.FINE}
    assert app.state is AppState.SUSPENDED
    assert app.judge(ALIVE, ALIVE, 31.0) is Verdict.FINE
    assert app.state.value == "running"


@pytest.mark.parametrize("state", [AppState.SUSPENDED, AppState.WARNED, AppState.STOPPING])
def test_what_is_being_dealt_with_is_left_alone(state: AppState) -> None:
    registry = Registry()
    app = running(registry, "web")
    registry.turn(app, Progress(state, 1, 50), Seen(50))
    assert {app.judge(STOPPED, ALIVE, now) for now in (10.0, 20.0)} == {Verdict.FINE}


def test_interval_0_means_that_only_the_end_counts() -> None:
    app = running(Registry(), "web", interval_ms=0)
    assert {app.judge(STOPPED, ALIVE, now) for now in (10.0, 1000.0)} == {Verdict.FINE}


@pytest.mark.parametrize("finding", [ZOMBIE, GONE])
def test_an_end_that_sam_run_does_not_notice_is_said_once(finding: Finding) -> None:
    app = running(Registry(), "web")
    looks = [10.0, 10.0 + UNREAPED_SECONDS / 2, 10.0 + UNREAPED_SECONDS, 100.0]
    assert [app.judge(finding, ALIVE, now) for now in looks] == [
        Verdict.FINE,
        Verdict.FINE,
        Verdict.UNREAPED,
        Verdict.FINE,
    ]


def test_a_turn_starts_the_clocks_anew() -> None:
    registry = Registry()
    app = running(registry, "web", interval_ms=1000)
    app.judge(STOPPED, ALIVE, 10.0)
    registry.turn(app, Progress(AppState.RUNNING, 2, 51), Seen(51))
    assert app.judge(STOPPED, ALIVE, 11.5) is Verdict.FINE
