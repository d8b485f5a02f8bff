"""Runs scenarios: compares what comes out with what is recorded in the file, or records it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from simcluster import scenario_text
from simcluster.cluster import Cluster, Outcome
from simcluster.history import Failed, History, Regular, set_text
from simcluster.mutants import find
from simcluster.options import Options
from simcluster.scenario import Golden, Scenario, Script
from simcluster.trace import Trace

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
"""Those of the sound protocol."""


def run(script: Script, mutant: str = "", trace: Trace | None = None) -> Outcome:
    """Run a script, with the protocol as it is, or with a mistake in it."""
    with find(mutant).active() if mutant else nullcontext():
        return Cluster(script.options, trace=trace, script=script).run()


def scenario_coverage(folder: Path = SCENARIOS) -> Counter[str]:
    """What the scenarios of a folder exercise, all together."""
    total: Counter[str] = Counter()
    for path in sorted(folder.glob("*.txt")):
        total.update(run(scenario_text.load(path).script).coverage)
    return total


def run_seed(options: Options, mutant: str = "") -> Outcome:
    """Run a seed with its own faults and load, with the protocol as it is, or with a mistake in it."""
    with find(mutant).active() if mutant else nullcontext():
        return Cluster(options).run()


def broken(outcome: Outcome) -> tuple[str, ...]:
    """The properties that a run violated, sorted."""
    return tuple(sorted({violation.prop for violation in outcome.violations}))


def stories(history: History) -> Iterator[str]:
    """Per node, in words: the members of each regular configuration, and where it crashed or left."""
    lives: dict[int, list[str]] = {}
    for process in sorted(history.processes):
        words = lives.setdefault(process.node, [])
        for entry in history.processes[process]:
            if isinstance(entry.event, Regular):
                words.append(set_text(entry.event.members))
            elif isinstance(entry.event, Failed):
                words.append("end")
    for node, words in sorted(lives.items()):
        yield f"node {node}: {' '.join(words)}"


def play(scenario: Scenario) -> tuple[Golden, Outcome]:
    """What comes out: with a mistake, its verdict; else the story of the sound protocol.  And the sound run."""
    sound = run(scenario.script)
    if not scenario.mutant:
        return Golden(broken(sound), tuple(stories(sound.history))), sound
    # What a mistake is shown by is its violation; how the sound protocol gets by is another scenario's subject.
    return Golden(mutated_verdict(scenario, sound)), sound


def mutated_verdict(scenario: Scenario, sound: Outcome) -> tuple[str, ...]:
    """What the mistake violates; `story` if it violates nothing, but changes the membership otherwise than *sound*."""
    outcome = run(scenario.script, scenario.mutant)
    if outcome.violations:
        return broken(outcome)
    return ("story",) if list(stories(outcome.history)) != list(stories(sound.history)) else ()


def problems(scenario: Scenario) -> Iterator[str]:
    """How a run differs from what the scenario says; nothing if it is as it was recorded."""
    golden, sound = play(scenario)
    if sound.violations:
        yield from (f"violated: {violation}" for violation in sound.violations)
    if scenario.mutant and not set(scenario.golden.verdict) & set(golden.verdict):
        wanted, got = " ".join(scenario.golden.verdict), " ".join(golden.verdict) or "nothing"
        yield f"{scenario.mutant} violates {got}, not {wanted}"
    yield from (f"never reached: {counter}" for counter in scenario.reaches if not sound.coverage[counter])
    for recorded, now in _pairs(scenario.golden.stories, golden.stories):
        if scenario.golden.stories and recorded != now:
            yield f"recorded: {recorded or 'nothing'}\n     now: {now or 'nothing'}"


def _pairs(recorded: tuple[str, ...], now: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for index in range(max(len(recorded), len(now))):
        yield recorded[index] if index < len(recorded) else "", now[index] if index < len(now) else ""


def record(path: Path) -> Scenario:
    """Run a scenario file and write what comes out into it; prose, events and `reaches` stay as they are.

    Raises:
        ScenarioError: the file is no scenario, or what comes out is nothing to keep: a sound protocol that violates
            something, a mistake that violates nothing, a counter in `reaches` that stays at zero.
    """
    scenario = scenario_text.load(path)
    golden, sound = play(scenario)
    if sound.violations:
        raise scenario_text.ScenarioError(f"{path}: {sound.violations[0]}")
    if scenario.mutant and not golden.verdict:
        raise scenario_text.ScenarioError(f"{path}: {scenario.mutant} violates nothing")
    for counter in scenario.reaches:
        if not sound.coverage[counter]:
            raise scenario_text.ScenarioError(f"{path}: never reached: {counter}")
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(("expect ", "node "))]
    path.write_text("\n".join((*kept, *scenario_text.golden_lines(golden))) + "\n", encoding="utf-8")
    return replace(scenario, golden=golden)
