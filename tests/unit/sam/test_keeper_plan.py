"""Which declared applications start and stop: order, dependencies, reloads; storms end where they should."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from totemd.executive.config.model import AppEntry
from totemd.sam.keeper.plan import (
    IDLE,
    Phase,
    Standing,
    Steps,
    difference,
    members,
    next_steps,
    to_run,
    waits_for,
    with_required,
    with_requiring,
)


def entry(name: str, *, after: str = "", requires: str = "", groups: str = "", command: str = "x") -> AppEntry:
    return AppEntry(
        name, (command,), {}, tuple(groups.split()), after=tuple(after.split()), requires=tuple(requires.split())
    )


def board(*rows: tuple[AppEntry, Phase, bool], outdated: str = "") -> dict[str, Standing]:
    return {each.name: Standing(each, phase, wanted, each.name in outdated.split()) for each, phase, wanted in rows}


DB, WEB, LOG = entry("db"), entry("web", requires="db", after="log"), entry("log")
UP, DOWN, RISING, FALLING, DONE, GIVEN_UP = (
    Phase.UP,
    Phase.DOWN,
    Phase.RISING,
    Phase.FALLING,
    Phase.DONE,
    Phase.GIVEN_UP,
)


@pytest.mark.parametrize(
    ("db", "log", "web", "steps"),
    [
        ((DOWN, True), (DOWN, True), (DOWN, True), Steps(start=("db", "log"))),
        ((RISING, True), (UP, True), (DOWN, True), Steps()),
        ((UP, True), (RISING, True), (DOWN, True), Steps()),
        ((UP, True), (UP, True), (DOWN, True), Steps(start=("web",))),
        ((UP, True), (DOWN, False), (DOWN, True), Steps(start=("web",))),  # what is not to run is not waited for
        ((UP, True), (GIVEN_UP, True), (DOWN, True), Steps(start=("web",))),
        ((DONE, True), (UP, True), (DOWN, True), Steps(start=("web",))),
        ((GIVEN_UP, True), (UP, True), (DOWN, True), Steps()),
        ((GIVEN_UP, True), (UP, True), (UP, True), Steps(stop=("web",))),
        ((UP, False), (UP, True), (UP, True), Steps(stop=("web",))),  # first what requires it
        ((UP, False), (UP, True), (FALLING, True), Steps()),
        ((UP, False), (UP, True), (DOWN, True), Steps(stop=("db",))),
        ((RISING, True), (UP, True), (UP, True), Steps()),  # it fails and is started again: nobody else is touched
        ((UP, False), (UP, False), (UP, False), Steps(stop=("web",))),
    ],
)
def test_steps(db: tuple[Phase, bool], log: tuple[Phase, bool], web: tuple[Phase, bool], steps: Steps) -> None:
    assert next_steps(board((DB, *db), (LOG, *log), (WEB, *web))) == steps


def test_what_has_changed_is_restarted_without_those_that_require_it() -> None:
    assert next_steps(board((DB, UP, True), (WEB, UP, True), outdated="db")) == Steps(stop=("db",))
    assert next_steps(board((DB, DOWN, True), (WEB, DOWN, True), outdated="db")) == Steps()


def test_what_is_waited_for_is_told() -> None:
    now = board((DB, RISING, True), (LOG, DOWN, True), (WEB, DOWN, True))
    assert waits_for("web", now, to_run(now)) == ("db", "log")


def test_differences() -> None:
    changed, moved = entry("b", command="y"), entry("c", after="b", command="x")
    change = difference([entry("a"), entry("b"), entry("c"), entry("e")], [changed, moved, entry("d"), entry("e")])
    assert (change.added, change.removed, change.changed, change.reordered) == (("d",), ("a",), ("b",), ("c",))


def test_names_of_groups_and_what_they_require() -> None:
    entries = {each.name: each for each in (entry("a", groups="g h"), entry("b", groups="g"), WEB, DB)}
    assert members(["g", "b", "nobody"], entries) == ({"a": None, "b": None}, ["nobody"])
    assert with_required(["web"], entries) == {"web", "db"}


NAMES = [f"a{number}" for number in range(6)]


def test_an_order_to_stop_means_those_that_require_it_too() -> None:
    entries = {each.name: each for each in (DB, WEB, LOG, entry("shop", requires="web"))}
    assert with_requiring(["db"], entries) == {"db", "web", "shop"}
    assert with_requiring(["log"], entries) == {"log"}, "who only comes after it may go on"


@st.composite
def declarations(draw: st.DrawFn) -> list[AppEntry]:
    """Without circles: each may come after earlier ones only."""
    entries = []
    for number, name in enumerate(NAMES):
        earlier = st.lists(st.sampled_from(NAMES[:number]), unique=True, max_size=3) if number else st.just([])
        entries.append(AppEntry(name, ("x",), after=tuple(draw(earlier)), requires=tuple(draw(earlier))))
    return entries


@settings(deadline=None)
@given(declarations(), st.data())
def test_every_storm_settles_where_it_is_wanted(entries: list[AppEntry], data: st.DataObject) -> None:
    """Whatever the phases were, following the plan leads to all that can run running, and nothing else."""
    phases = {name: data.draw(st.sampled_from(Phase), label=name) for name in NAMES}
    wanted = {name: data.draw(st.booleans(), label=f"{name} is wanted") for name in NAMES}
    by_name = {each.name: each for each in entries}
    for _ in range(4 * len(NAMES)):
        now = {name: Standing(by_name[name], phases[name], wanted[name]) for name in NAMES}
        steps = next_steps(now)
        for name in steps.start:
            assert all(phases[other] not in (DOWN, RISING) for other in by_name[name].requires)
            phases[name] = RISING
        for name in steps.stop:
            phases[name] = FALLING
        for name, phase in phases.items():
            phases[name] = (
                {RISING: UP, FALLING: DOWN}.get(phase, phase) if name not in (*steps.start, *steps.stop) else phase
            )
    now = {name: Standing(by_name[name], phases[name], wanted[name]) for name in NAMES}
    running = to_run(now)
    for name, phase in phases.items():
        assert phase in (({UP, DONE, GIVEN_UP}) if name in running else IDLE), (name, phases)
