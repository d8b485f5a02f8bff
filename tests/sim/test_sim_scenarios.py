"""Scenarios that are kept: hard cases, each with what must come out; and losses at every point of a formation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simcluster import scenario_text
from simcluster.cli import main
from simcluster.fault_plan import plan
from simcluster.faults import Fault, Lossy, PlannedFault
from simcluster.options import derive
from simcluster.scenario import Request, Scenario, Script, plain
from simcluster.scenario_run import SCENARIOS, problems, record, run
from simcluster.scenario_text import ScenarioError, parse, text

PATHS = sorted(SCENARIOS.glob("*.txt"))

BEGINNING = "nodes 3\nseconds 1\n"


@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_a_scenario_comes_out_as_recorded(path: Path) -> None:
    scenario = scenario_text.load(path)
    found = list(problems(scenario))
    again = f"if that is as it should be: python tests/sim/run.py --scenario {path} --record"
    assert not found, "\n".join((*found, again))
    assert scenario.title and scenario.reaches and scenario.golden.stories, (
        "what for, what is reached, and what comes out"
    )


# -- every packet of a formation is lost once


def forming(fault: Fault) -> Script:
    """Three nodes boot and exchange a few messages under one fault; one of them restarts."""
    requests = tuple(Request(0.01 * index, 1 + index % 3, 20, bool(index % 2)) for index in range(1, 13))
    options = replace(plain(0, 3), fault_seconds=0.7)
    return Script(options, (PlannedFault(0, 0.0, fault),), requests)


@pytest.mark.parametrize(("kind", "last"), [("Token", 11), ("CommitToken", 5), ("Join", 5), ("Mcast", 5)])
def test_each_packet_of_a_formation_can_be_lost(kind: str, last: int) -> None:
    for skip in range(last + 1):
        outcome = run(forming(Lossy((kind,), (), 1.0, 0.6, skip, 1)))
        assert not outcome.violations, f"{kind} {skip} lost: {outcome.violations[0]}"
        assert outcome.coverage[f"network.rule.{kind}"] == 1, f"{kind} {skip} was not lost: there are fewer"


@pytest.mark.parametrize("kind", ["Token", "CommitToken"])
def test_a_token_and_its_repetitions_can_be_lost_on_each_hop(kind: str) -> None:
    """Nothing of this kind gets through for longer than a token timeout, from each packet on."""
    for skip in range(6):
        outcome = run(forming(Lossy((kind,), (), 1.0, 0.6, skip)))
        assert not outcome.violations, f"{kind} {skip} and all after it lost: {outcome.violations[0]}"


# -- the file


@pytest.mark.parametrize("seed", range(6))
def test_what_is_written_is_read_again(seed: int) -> None:
    options = derive(seed)
    faults = plan(options)
    scenario = Scenario(Script(options, faults, (Request(1.5, 2, 40, True),)), ("why",), reaches=("a.b",))
    again = parse(text(scenario))
    assert again.script.faults == tuple(replace(fault, index=index) for index, fault in enumerate(faults))
    assert replace(again.script.options, profile=options.profile) == options
    assert (again.title, again.reaches, again.script.requests) == (("why",), ("a.b",), scenario.script.requests)
    assert text(again) == text(scenario)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("noodles 3", "'noodles' means nothing; a line starts with nodes, seed, seconds"),
        ("nodes 4", "a second 'nodes' line"),
        ("mutant", "'mutant' what"),
        ("ring widow=3", "ring has no 'widow'; it has .*window_size"),
        ("ring window_size=many", "window_size: 'many' is not of the kind of 50"),
        ("run stormy=1", "stormy: '1' is neither yes nor no"),
        ("run seed=1", "run has no 'seed'"),
        ("weather loss", "'loss' is not NAME=VALUE"),
        ("at soon Heal()", "'soon' is not a time in seconds"),
        ("at nan Heal()", "'nan' is not a time in seconds"),
        ("at 0.5 submit node=1", "expected: at TIME submit node=N bytes=N safe|agreed"),
        ("at 0.5 submit node=0 bytes=1 safe", "'0' is not a node number, 1 or more"),
        ("at 0.5 submit node=4 bytes=1 safe", "a node submits that is none of the 3"),
        ("at 1.5 Heal()", "something happens at 1.5, but the faults end after 1.0 seconds"),
        ("at 0.5 Burn()", "no fault is called 'Burn'; there are .*Crash, CutLinks"),
        ("at 0.5 Heal", "'Heal' is neither a number"),
        ("at 0.5 Heal(", "was never closed"),
        ("at 0.5 17", "'17' is no fault; there are"),
        ("at 0.5 __import__('os').system('true')", "is neither a number, a text, a tuple"),
        ("at 0.5 Crash(nodes=(1,))", "Crash needs downtimes; its fields are nodes, downtimes"),
        ("at 0.5 Crash(nodes=(1,), downtimes=(0.1,), why=1)", "Crash has no 'why'; it has nodes, downtimes"),
        ("at 0.5 Crash(nodes=('a',), downtimes=(0.1,))", r"Crash: \('a',\) is no nodes"),
        ("at 0.5 Trap(node=1, event='gather', skip=0, fault=3)", "Trap: 3 is no fault"),
        ("expect E8", "expect sound, or a mutant and the properties that it violates"),
    ],
)
def test_what_means_nothing_is_refused_with_its_place(line: str, complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint) as refusal:
        parse(f"{BEGINNING}{line}\n", "some/file.txt")
    assert str(refusal.value).startswith("some/file.txt:3: ")


def test_a_file_without_nodes_is_refused() -> None:
    with pytest.raises(ScenarioError, match="no 'nodes' line"):
        parse("seconds 1\n")


def test_a_scenario_that_comes_out_otherwise_is_noticed_and_can_be_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "crash.txt"
    path.write_text(
        f"# why\n{BEGINNING}at 0.5 Crash(nodes=(2,), downtimes=(0.1,))\nreaches fault.Crash\n"
        "expect sound\nnode 1: {1} {1,2,3}\n"
    )
    assert main(["--scenario", str(path)]) == 1
    assert "recorded: node 1: {1} {1,2,3}\n" in capsys.readouterr().out
    assert main(["--scenario", str(path), "--record"]) == 0
    assert main(["--scenario", str(path)]) == 0
    kept = path.read_text().splitlines()
    assert kept[0] == "# why"
    assert "reaches fault.Crash" in kept
    assert any(line.startswith("node 2: {2} ") and " end {2} " in line for line in kept)


def test_what_a_scenario_is_for_cannot_be_recorded_away(tmp_path: Path) -> None:
    path = tmp_path / "calm.txt"
    path.write_text(f"{BEGINNING}reaches fault.Crash\n")
    with pytest.raises(ScenarioError, match=r"never reached: fault\.Crash"):
        record(path)
    assert list(problems(scenario_text.load(path))) == ["never reached: fault.Crash"]


def test_a_file_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scenario", "/nonexistent.txt"]) == 2
    assert "/nonexistent.txt" in capsys.readouterr().out
