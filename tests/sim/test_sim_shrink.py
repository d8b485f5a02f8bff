"""A failing seed becomes a short scenario that still fails in the same way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simcluster import scenario_text
from simcluster.cli import main
from simcluster.fault_plan import plan
from simcluster.faults import Crash, CutLinks, Fault, Lossy, Partition, PlannedFault, Several, Trap
from simcluster.options import Options, derive
from simcluster.scenario import Request, Script, plain
from simcluster.scenario_run import broken, problems, run, run_seed
from simcluster.shrink import NothingFails, shrink
from simcluster.shrink_parts import rounded, simpler, without_node

MUTANT = "disk_wiped"
"""Needs one crash, so that a short search is enough."""
RUNS = 80
SMALL = (3, 3)


def failing_seed() -> Options:
    """The first seed that catches the mutant, so that changes of the simulator do not matter."""
    for seed in range(20):
        options = derive(seed, "crash", SMALL)
        if len(plan(options)) > 4 and "E6" in broken(run_seed(options, MUTANT)):
            return options
    pytest.fail(f"{MUTANT} is not caught")


def test_shrinking_drops_nearly_everything_and_keeps_the_failure() -> None:
    options = failing_seed()
    said: list[str] = []
    scenario = shrink(options, MUTANT, runs_max=RUNS, say=said.append)
    script = scenario.script
    assert len(script.faults) <= 2, "\n".join(said)
    assert len(script.requests) <= 2, "\n".join(said)
    assert len(list(scenario_text.settings(script.options))) <= 1, "\n".join(said)
    assert script.options.nodes <= options.nodes
    assert scenario.mutant == MUTANT
    again = scenario_text.parse(scenario_text.text(scenario))
    assert list(problems(again)) == []
    assert broken(run(again.script, MUTANT)) == scenario.golden.verdict


def test_a_seed_that_breaks_nothing_cannot_be_shrunk(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NothingFails, match="seed 1 violates nothing"):
        shrink(derive(1))
    assert main(["--seed", "1", "--shrink"]) == 2
    assert "seed 1 violates nothing" in capsys.readouterr().out


def test_the_command_writes_a_scenario_that_the_other_command_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "short.txt"
    wanted = ["--seed", "0", "--shrink", "--mutant", "not_persisted", "--runs", "60", "-o", str(path)]
    assert main(wanted) == 0
    assert "again: python tests/sim/run.py --scenario" in capsys.readouterr().out
    assert "mutant not_persisted" in path.read_text()
    assert main(["--scenario", str(path)]) == 0


@pytest.mark.parametrize(
    ("fault", "variants"),
    [
        (Several((Partition(((1,), (2, 3))), Crash((1,), (0.1,)))), [Partition(((1,), (2, 3))), Crash((1,), (0.1,))]),
        (
            Trap(1, "gather", 2, Crash((1, 2), (0.1, 0.2))),
            [
                Crash((1, 2), (0.1, 0.2)),
                Trap(1, "gather", 0, Crash((1, 2), (0.1, 0.2))),
                Trap(1, "gather", 1, Crash((1, 2), (0.1, 0.2))),
                Trap(1, "gather", 2, Crash((2,), (0.2,))),
                Trap(1, "gather", 2, Crash((1,), (0.1,))),
            ],
        ),
        (Partition(((1,), (2,), (3,))), [Partition(((1, 2), (3,))), Partition(((1,), (2, 3)))]),
        (Partition(((1,), (2, 3))), []),
        (CutLinks(((1, 2), (2, 1))), [CutLinks(((2, 1),)), CutLinks(((1, 2),))]),
        (Lossy(("Token",), (), 1.0, 0.5), []),
    ],
)
def test_faults_have_simpler_variants(fault: Fault, variants: list[Fault]) -> None:
    assert list(simpler(fault)) == variants


def test_a_node_can_be_taken_out_of_a_script() -> None:
    faults: tuple[Fault, ...] = (
        Crash((1, 2), (0.1, 0.2)),
        Crash((2,), (0.1,)),
        Partition(((1, 3), (2,))),
        CutLinks(((1, 2), (3, 1))),
        Trap(3, "gather", 0, CutLinks(((3, 1),))),
        Trap(2, "gather", 0, CutLinks(((3, 1),))),
        Trap(1, "gather", 0, CutLinks(((2, 1),))),
    )
    planned = tuple(PlannedFault(index, 0.1, fault) for index, fault in enumerate(faults))
    requests = (Request(0.1, 1, 5, True), Request(0.1, 2, 5, True), Request(0.1, 3, 5, True))
    less = without_node(Script(plain(0, 3), planned, requests), 2)
    assert less.options == replace(plain(0, 3), nodes=2)
    assert [each.fault for each in less.faults] == [
        Crash((1,), (0.1,)),
        Partition(((1, 2),)),
        CutLinks(((2, 1),)),
        Trap(2, "gather", 0, CutLinks(((2, 1),))),
    ]
    assert [request.node for request in less.requests] == [1, 2]


def test_times_are_rounded_everywhere_but_never_to_nothing() -> None:
    fault = PlannedFault(0, 0.12345, Trap(1, "gather", 0, Crash((1,), (0.0042,))))
    options = replace(plain(0, 3), fault_seconds=0.98765)
    short = rounded(Script(options, (fault,), (Request(0.55555, 1, 5, True),)), 1)
    assert short.faults[0].time == 0.1
    assert short.faults[0].fault == Trap(1, "gather", 0, Crash((1,), (0.0042,)))
    assert short.requests[0].time == 0.6
    assert short.options.fault_seconds >= 0.98765
