"""From a failing seed to a short scenario: whatever is not needed for the failure is taken away, step by step.

Delta debugging (Zeller, Hildebrandt: Simplifying and Isolating Failure-Inducing Input, 2002) over the faults, their
parts, the submissions, the nodes and the options.  A step is kept if the first property that the seed violated is still
violated, and, for a mistake in the protocol, the sound protocol still violates nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

from simcluster.fault_plan import plan
from simcluster.mutants import find
from simcluster.options import Options
from simcluster.scenario import Scenario, Script, plain
from simcluster.scenario_run import broken, play, run, run_seed
from simcluster.shrink_parts import rounded, simpler, without_node

RUNS_MAX = 1_500
"""Runs that one shrinking may take; what has been reached by then is the result."""

SOONER = 0.1
"""Seconds by which an earlier end of the faults is worth another attempt."""

TIME_DIGITS = (1, 2, 3)
"""Decimals that times are rounded to, the roundest first."""

Say = Callable[[str], None]
T = TypeVar("T")


class NothingFails(Exception):
    """There is nothing to shrink: the seed violates nothing, or nothing once it is written down as a script."""


@dataclass
class Search:
    """The shortest script so far, and how much it has taken."""

    script: Script
    prop: str
    mutant: str
    runs_max: int
    runs: int = 0

    def keep(self, script: Script) -> bool:
        """Take *script* if it still fails in the same way; False also when the runs are used up."""
        if script == self.script or self.exhausted:
            return False
        self.runs += 1
        if self.prop not in broken(run(script, self.mutant)):
            return False
        if self.mutant:
            self.runs += 1
            if run(script).violations:
                return False
        self.script = script
        return True

    @property
    def exhausted(self) -> bool:
        """Whether no more runs are allowed."""
        return self.runs >= self.runs_max


def shrink(options: Options, mutant: str = "", *, runs_max: int = RUNS_MAX, say: Say = lambda text: None) -> Scenario:
    """The shortest scenario found that violates what the seed of *options* violates first.

    Raises:
        NothingFails: it violates nothing.
    """
    search = _start(options, mutant, runs_max)
    began = search.script
    say(f"{search.prop} is violated: {size(began)}")
    before = None
    while before != (cost := _cost(search.script)) and not search.exhausted:
        before = cost
        for step in STEPS:
            step(search)
            say(f"{search.runs:5} runs, {step.__name__.strip('_').replace('_', ' ')}: {size(search.script)}")
    title = (
        f"{search.prop}: seed {options.seed} of the {options.profile} profile, shrunk in {search.runs} runs",
        f"from {size(began)}",
        f"to   {size(search.script)}.",
    )
    scenario = Scenario(search.script, title, mutant)
    # A failing seed of the sound protocol is kept to stay sound once it has been repaired; its story is recorded then.
    return replace(scenario, golden=play(scenario)[0]) if mutant else scenario


def size(script: Script) -> str:
    """How much a script says."""
    return (
        f"{len(script.faults)} faults, {len(script.requests)} submissions, {script.options.nodes} nodes, "
        f"{_unusual(script.options)} unusual options, {script.options.fault_seconds:.1f} s"
    )


def _cost(script: Script) -> tuple[int, ...]:
    """What has to become less for another round to be worth its runs."""
    words = sum(len(str(fault.fault)) for fault in script.faults)
    return len(script.faults), words, len(script.requests), script.options.nodes, _unusual(script.options)


def _start(options: Options, mutant: str, runs_max: int) -> Search:
    first = run_seed(options, mutant)
    if not first.violations:
        raise NothingFails(f"seed {options.seed} violates nothing")
    found = [violation.prop for violation in first.violations]
    # What a mistake is expected to break says more than what breaks because of that.
    prop = next((each for each in found if mutant and each in find(mutant).expected), found[0])
    # A scenario file does not name a profile: its faults are written down.
    scripted = replace(options, profile=plain(options.seed, options.nodes).profile)
    script = Script(scripted, plan(options), tuple(first.requests))
    if prop not in broken(run(script, mutant)):
        raise NothingFails(f"seed {options.seed} violates {prop}, but not as a script")
    return Search(script, prop, mutant, runs_max)


# -- steps: each tries to take something away


def _end_sooner(search: Search) -> None:
    low, high = 0.0, search.script.options.fault_seconds
    while high - low > SOONER:
        middle = (low + high) / 2
        if search.keep(_cut(search.script, middle)):
            high = middle
        else:
            low = middle


def _cut(script: Script, end: float) -> Script:
    return Script(
        replace(script.options, fault_seconds=end),
        tuple(fault for fault in script.faults if fault.time <= end),
        tuple(request for request in script.requests if request.time <= end),
    )


def _drop_faults(search: Search) -> None:
    _minimise(search.script.faults, lambda faults: search.keep(replace(search.script, faults=faults)))


def _drop_submissions(search: Search) -> None:
    _minimise(search.script.requests, lambda requests: search.keep(replace(search.script, requests=requests)))


def _minimise(items: Sequence[T], keep: Callable[[tuple[T, ...]], bool]) -> None:
    """Delta debugging: without halves, quarters, … down to single items."""
    left = tuple(items)
    if not left or keep(()):
        return
    chunk = (len(left) + 1) // 2
    while True:
        at = 0
        while at < len(left):
            fewer = left[:at] + left[at + chunk :]
            if fewer and keep(fewer):
                left = fewer
            else:
                at += chunk
        if chunk == 1:
            return
        chunk = (chunk + 1) // 2


def _drop_nodes(search: Search) -> None:
    for node in range(search.script.options.nodes, 0, -1):
        if search.script.options.nodes > 1:
            search.keep(without_node(search.script, node))


def _usual_options(search: Search) -> None:
    usual = plain(search.script.options.seed, search.script.options.nodes)
    whole = replace(usual, fault_seconds=search.script.options.fault_seconds)
    if search.keep(replace(search.script, options=whole)):
        return
    if search.script.options.groups is not None:
        _set(search, {"groups": None, "exchange": usual.exchange})
    for each in fields(Options):
        value = getattr(usual, each.name)
        if each.name in {"seed", "nodes", "fault_seconds", "groups"}:
            continue
        if each.name == "exchange" and search.script.options.groups is not None:
            continue  # real services do their own
        if not _set(search, {each.name: value}) and is_dataclass(value):
            for part in fields(value):
                group = getattr(search.script.options, each.name)
                _set(search, {each.name: replace(group, **{part.name: getattr(value, part.name)})})


def _set(search: Search, values: dict[str, Any]) -> bool:
    options = replace(search.script.options, **values)
    return options == search.script.options or search.keep(replace(search.script, options=options))


def _unusual(options: Options) -> int:
    usual, count = plain(options.seed, options.nodes), 0
    for each in fields(Options):
        mine, base = getattr(options, each.name), getattr(usual, each.name)
        if is_dataclass(base):
            count += sum(getattr(mine, part.name) != getattr(base, part.name) for part in fields(base))
        elif each.name not in {"seed", "nodes", "fault_seconds"}:
            count += mine != base
    return count


def _simplify_faults(search: Search) -> None:
    index = 0
    while index < len(search.script.faults):
        planned = search.script.faults[index]
        for fault in simpler(planned.fault):
            faults = list(search.script.faults)
            faults[index] = replace(planned, fault=fault)
            if search.keep(replace(search.script, faults=tuple(faults))):
                break
        else:
            index += 1


def _round_numbers(search: Search) -> None:
    for digits in TIME_DIGITS:
        if search.keep(rounded(search.script, digits)):
            return


STEPS = (
    _end_sooner,
    _usual_options,
    _drop_faults,
    _drop_submissions,
    _drop_nodes,
    _simplify_faults,
    _round_numbers,
)
