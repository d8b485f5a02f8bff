"""Scenario files: one line for each thing that happens, written for people, read strictly.

# What it is about, and why it is kept.
nodes 3                                        how many; they boot at 0
seed 7                                         of whatever is still random
seconds 2.5                                    the faults end then; everything must converge after it
mutant forgotten_on_failure                    shows this mistake (optional)
weather latency=0.002 loss=0.05                options that differ from `scenario.plain`: `run`, `ring` …
at 0.8 submit node=2 bytes=40 safe             `safe` or `agreed`
at 1.2 Crash(nodes=(1,), downtimes=(0.4,))     any fault of `faults`, with its fields
reaches recovery.interrupted                   a coverage counter that must not stay at zero
expect sound                                   or the properties that the mutant violates
node 1: {1} {1,2,3} crash {1} {1,2,3}          its regular configurations; recorded, not written by hand
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from simcluster.faults import PlannedFault
from simcluster.mutants import MUTANTS
from simcluster.options import Options
from simcluster.scenario import PLAIN_GROUPS, Golden, Request, Scenario, Script, plain
from simcluster.scenario_rules import NODES, SECONDS, SEED, Rule, fault_problem, option_problem, options_problem
from simcluster.scenario_values import InvalidValue, fault_text, option, option_text, parse_fault

GROUPS = tuple(
    each.name for each in fields(Options) if is_dataclass(getattr(plain(0, 1), each.name)) or each.name == "groups"
)
"""Options in groups of their own; all the others stand in `run` lines."""

OWN_LINES = frozenset({"seed", "nodes", "profile", "fault_seconds", *GROUPS})
"""Options that `run` lines do not set."""

PER_NODE = frozenset({"node_id"})
"""Options of the ring that each node has for itself."""


class ScenarioError(Exception):
    """A scenario file says something that means nothing; names file, line, and what would be accepted."""


@dataclass
class _Reading:
    """What has been read so far."""

    name: str
    line: int = 0
    title: list[str] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    """Lines that may come once: nodes, seed, seconds, mutant, expect."""
    lines: dict[str, int] = field(default_factory=dict)
    """Where those are."""
    settings: list[tuple[int, str, str, str]] = field(default_factory=list)
    """(line, group, name, value)"""
    faults: list[tuple[int, PlannedFault]] = field(default_factory=list)
    requests: list[tuple[int, Request]] = field(default_factory=list)
    """Both with their lines."""
    reaches: list[str] = field(default_factory=list)
    stories: list[str] = field(default_factory=list)

    def fail(self, what: str, line: int | None = None) -> NoReturn:
        raise ScenarioError(f"{self.name}:{line or self.line}: {what}")


def load(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        ScenarioError: it is not one.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    try:
        return parse(content.decode(), str(path))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ScenarioError(f"{path}:{line}: bytes that are no text; a scenario is written in UTF-8") from None


def parse(text: str, name: str = "scenario") -> Scenario:
    """Read a scenario; *name* is what errors call it.

    Raises:
        ScenarioError: a line means nothing, or something is missing.
    """
    reading = _Reading(name)
    for reading.line, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("#"):
            reading.title.append(line[1:].strip())
        elif line:
            _line(reading, *_split(line))
    return _scenario(reading)


def _split(line: str) -> tuple[str, str]:
    word, _, rest = line.partition(" ")
    return word, rest.strip()


def _line(reading: _Reading, word: str, rest: str) -> None:
    match word:
        case "nodes" | "seed" | "seconds" | "mutant" | "expect":
            if word in reading.words:
                reading.fail(f"a second '{word}' line")
            if not rest:
                reading.fail(f"'{word}' what?")
            reading.words[word], reading.lines[word] = rest, reading.line
        case _ if word == "run" or word in GROUPS:
            reading.settings.extend((reading.line, word, *_assignment(reading, text)) for text in rest.split())
        case "at":
            _event(reading, *_split(rest))
        case "reaches":
            reading.reaches.extend(rest.split())
        case "node":
            reading.stories.append(f"{word} {rest}")
        case _:
            known = f"nodes, seed, seconds, mutant, run, {', '.join(GROUPS)}, at, reaches, expect, node, or # for prose"
            reading.fail(f"'{word}' means nothing; a line starts with {known}")


def _assignment(reading: _Reading, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        reading.fail(f"'{text}' is not NAME=VALUE")
    return name, value


def _event(reading: _Reading, when: str, what: str) -> None:
    time = _number(reading, when, float, "a time in seconds", 0.0)
    if what.startswith("submit "):
        reading.requests.append((reading.line, _request(reading, time, what.split()[1:])))
        return
    try:
        reading.faults.append((reading.line, PlannedFault(len(reading.faults), time, parse_fault(what))))
    except InvalidValue as problem:
        reading.fail(str(problem))


def _request(reading: _Reading, time: float, words: list[str]) -> Request:
    usage = "expected: at TIME submit node=N bytes=N safe|agreed"
    if len(words) != 3 or words[2] not in {"safe", "agreed"}:
        reading.fail(usage)
    given = dict(_assignment(reading, word) for word in words[:2])
    if list(given) != ["node", "bytes"]:
        reading.fail(usage)
    node = _number(reading, given["node"], int, "a node number", 1)
    return Request(time, node, _number(reading, given["bytes"], int, "a number of bytes", 1), words[2] == "safe")


def _word(reading: _Reading, word: str, kind: type[Any], what: str, rule: Rule) -> Any:
    """The number in a line that comes once."""
    reading.line = reading.lines[word]
    value = _number(reading, reading.words[word], kind, what, 0)
    if not rule.holds(value):
        reading.fail(f"'{value}' is not {what} {rule.accepts}")
    return value


def _number(reading: _Reading, text: str, kind: type[Any], what: str, least: float) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not value >= least:  # "not >=" refuses nan, too
        reading.fail(f"'{text}' is not {what}, {least} or more")
    return value


def _scenario(reading: _Reading) -> Scenario:
    for word in ("nodes", "seconds"):
        if word not in reading.words:
            reading.fail(f"no '{word}' line")
    nodes = _word(reading, "nodes", int, "a number of nodes", NODES)
    seed = _word(reading, "seed", int, "a seed", SEED) if "seed" in reading.words else 0
    seconds = _word(reading, "seconds", float, "a number of seconds", SECONDS)
    options = replace(_set(reading, plain(seed, nodes)), fault_seconds=seconds)
    _check(reading, options)
    return Scenario(
        Script(options, tuple(fault for _, fault in reading.faults), tuple(each for _, each in reading.requests)),
        tuple(reading.title),
        reading.words.get("mutant", ""),
        tuple(reading.reaches),
        Golden(_verdict(reading), tuple(reading.stories)),
    )


def _check(reading: _Reading, options: Options) -> None:
    """What happens must be possible in a run with these options."""
    times = [(line, fault.time) for line, fault in reading.faults]
    for line, time in (*times, *((line, request.time) for line, request in reading.requests)):
        if time > options.fault_seconds:
            reading.fail(f"something happens at {time}, but the faults end after {options.fault_seconds} seconds", line)
    for line, planned in reading.faults:
        if problem := fault_problem(planned.fault, options):
            reading.fail(problem, line)
    for line, request in reading.requests:
        if request.node > options.nodes:
            reading.fail(f"a node submits that is none of the {options.nodes}", line)
        if request.size > options.ring.submission_bytes_max:
            reading.fail(f"{request.size} bytes; a submission has {options.ring.submission_bytes_max} at most", line)


def _verdict(reading: _Reading) -> tuple[str, ...]:
    mutant, verdict = reading.words.get("mutant"), tuple(reading.words.get("expect", "sound").split())
    known = [each.name for each in MUTANTS]
    if mutant is not None and mutant not in known:
        reading.fail(f"no mutant is called '{mutant}'; there are {', '.join(known)}", reading.lines["mutant"])
    if (verdict == ("sound",)) is (mutant is not None):
        reading.fail("expect sound, or a mutant and the properties that it violates", reading.lines.get("expect"))
    return () if verdict == ("sound",) else verdict


def _set(reading: _Reading, options: Options) -> Options:
    given: set[tuple[str, str]] = set()
    for line, group, name, text in reading.settings:
        target: Any = options if group == "run" else getattr(options, group) or PLAIN_GROUPS
        known = _settable(target)
        if name not in known:
            reading.fail(f"{group} has no '{name}'; it has {', '.join(known)}", line)
        if (group, name) in given:
            reading.fail(f"{group} {name} is given twice", line)
        given.add((group, name))
        try:
            value = option(text, getattr(target, name))
        except InvalidValue as invalid:
            reading.fail(f"{name}: {invalid}", line)
        if problem := option_problem(group, name, value):
            reading.fail(f"{name}: {problem}", line)
        target = replace(target, **{name: value})
        options = target if group == "run" else replace(options, **{group: target})
    if problem := options_problem(options):
        lines = (line for line, group, name, _ in reading.settings if group == "groups" or name == "exchange")
        reading.fail(problem, next(lines))
    return options


def _settable(group: Any) -> list[str]:
    fixed = OWN_LINES if isinstance(group, Options) else PER_NODE
    return [each.name for each in fields(group) if each.name not in fixed]


def text(scenario: Scenario) -> str:
    """The file; `parse` reads the same scenario from it."""
    return "\n".join(_lines(scenario)) + "\n"


def _lines(scenario: Scenario) -> Iterator[str]:
    options = scenario.script.options
    yield from (f"# {line}".rstrip() for line in scenario.title)
    yield f"nodes {options.nodes}"
    yield f"seed {options.seed}"
    yield f"seconds {options.fault_seconds!r}"
    if scenario.mutant:
        yield f"mutant {scenario.mutant}"
    yield from settings(options)
    events = [(request.time, 0, f"at {request.time!r} {_submit(request)}") for request in scenario.script.requests]
    events += [(fault.time, 1, f"at {fault.time!r} {fault_text(fault.fault)}") for fault in scenario.script.faults]
    yield from (line for _, _, line in sorted(events, key=lambda event: event[:2]))
    yield from (f"reaches {counter}" for counter in scenario.reaches)
    yield from golden_lines(scenario.golden)


def golden_lines(golden: Golden) -> Iterator[str]:
    """What was recorded."""
    yield f"expect {' '.join(golden.verdict) or 'sound'}"
    yield from golden.stories


def settings(options: Options) -> Iterator[str]:
    """One line per group of options that differ from the plain ones."""
    usual = plain(options.seed, options.nodes)
    for group in ("run", *GROUPS):
        mine: Any = options if group == "run" else getattr(options, group)
        base: Any = usual if group == "run" else getattr(usual, group)
        if mine is None:
            continue
        changed = [name for name in _settable(mine) if base is None or getattr(mine, name) != getattr(base, name)]
        if changed:
            yield f"{group} " + " ".join(f"{name}={option_text(getattr(mine, name))}" for name in changed)


def _submit(request: Request) -> str:
    return f"submit node={request.node} bytes={request.size} {'safe' if request.safe else 'agreed'}"
