"""Whole clusters of ring cores under seeded faults: no seed may break a property, and every ring must converge.

`TOTEMD_SIM_SEEDS` sets how many seeds are tried (`make sim SEEDS=…` does more, quicker).
"""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest
from simcluster.batch import ways_to_look
from simcluster.checker import explain
from simcluster.cli import main
from simcluster.cluster import Cluster
from simcluster.coverage import REQUIRED
from simcluster.fault_plan import plan
from simcluster.faults import PlannedFault
from simcluster.faults_local import StepWallClock
from simcluster.options import NODES_HIGH, NODES_LOW, NODES_OF, PROFILES, derive
from simcluster.trace import Trace

SEEDS = int(os.environ.get("TOTEMD_SIM_SEEDS", "500"))
"""About three minutes on one core; the workers share them."""
CHUNK = 10
"""Seeds of one test, so that several workers share them."""
SEEDS_OF_EACH = 3
"""Of every profile but those of large clusters."""
RUN = Path(__file__).parent / "run.py"
USUAL = (NODES_LOW, NODES_HIGH)


SAME = ((7, "mixed"), (3, "groups"), (5, "sealed"))
"""Runs that must have the same trace hash wherever they take place."""
NEEDS = "import sys, msgspec, cryptography, zmq, structlog; print('%d.%d' % sys.version_info[:2])"


@functools.cache
def digest_of(seed: int, profile: str) -> str:
    """The trace hash in this process."""
    return Cluster(derive(seed, profile)).run().digest


def told_by(python: str, seed: int, profile: str, hash_seed: str, *, without_site: bool = False) -> str:
    """What another process prints about a run; *without_site*: it has libraries of its own."""
    path = [each for each in sys.path if not (without_site and ("site-packages" in each or "lib/python" in each))]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(path)}
    command = [python, str(RUN), "--seed", str(seed), "--profile", profile]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return ended.stdout + ended.stderr


FOUND = (1942, 18014)
"""Seeds of the mixed profile, beyond the first ones, that have found something."""


def complaints(seed: int, profile: str = "mixed", nodes: tuple[int, int] = USUAL) -> list[str]:
    """What is wrong with one seed, with the command that shows it."""
    options = derive(seed, profile, nodes)
    outcome = Cluster(options).run()
    if not outcome.violations:
        return []
    told = [explain(outcome.history, violation) for violation in outcome.violations[:2]]
    return [*told, *ways_to_look(options, nodes)]


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_seed_breaks_a_property(first: int) -> None:
    found = [line for seed in range(first, min(first + CHUNK, SEEDS)) for line in complaints(seed)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("seed", FOUND)
def test_what_a_seed_has_found_is_mended(seed: int) -> None:
    found = complaints(seed)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("profile", [profile for profile in PROFILES if profile not in NODES_OF])
def test_each_kind_of_fault_alone(profile: str) -> None:
    found = [line for seed in range(SEEDS_OF_EACH) for line in complaints(seed, profile)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("nodes", [1, 2, 8])
def test_clusters_of_other_sizes(nodes: int) -> None:
    found = [line for seed in range(2) for line in complaints(seed, nodes=(nodes, nodes))]
    assert not found, "\n".join(found)


def test_a_large_cluster() -> None:
    found = complaints(1, "large")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_the_same_seed_is_the_same_run_in_every_process(hash_seed: str) -> None:
    for seed, profile in SAME:
        assert f"trace {Cluster(derive(seed, profile)).run().digest}" in told_by(
            sys.executable, seed, profile, hash_seed
        )


def other_pythons() -> list[str]:
    """Interpreters of other versions that can run the simulator: `TOTEMD_SIM_PYTHONS`, else what is on the path."""
    listed = os.environ.get("TOTEMD_SIM_PYTHONS", "").split(os.pathsep)
    found = [shutil.which(name) for name in (*listed, *(f"python3.{minor}" for minor in range(11, 16))) if name]
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    usable: dict[str, str] = {}
    for python in found:
        if python is not None:
            asked = subprocess.run([python, "-c", NEEDS], capture_output=True, text=True, check=False, timeout=60)
            if asked.returncode == 0 and asked.stdout.strip() != here:
                usable.setdefault(asked.stdout.strip(), python)
    return list(usable.values())


def test_the_same_seed_is_the_same_run_under_every_python() -> None:
    pythons = other_pythons()
    if not pythons:
        pytest.skip("no other Python with msgspec, cryptography, pyzmq and structlog; name some in TOTEMD_SIM_PYTHONS")
    for python, (seed, profile) in itertools.product(pythons, SAME):
        printed = told_by(python, seed, profile, "7", without_site=True)
        assert f"trace {digest_of(seed, profile)}" in printed, f"{python}: {printed[-2000:]}"


def test_another_seed_is_another_run() -> None:
    assert Cluster(derive(7)).run().digest != Cluster(derive(8)).run().digest


def test_looking_closer_does_not_change_the_run() -> None:
    options = derive(9)
    command = [sys.executable, str(RUN), "--seed", "9", "--trace-all", "--coverage"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout
    assert f"trace {Cluster(options).run().digest}" in printed
    assert "run: seed=9 profile=mixed" in printed
    assert "never seen:" in printed
    assert str(plan(options)[0]) in printed


def struck(seed: int, without: Collection[int] = ()) -> dict[int, tuple[float, str]]:
    """What really went wrong in a run, and when: by the index of the fault."""
    cluster = Cluster(derive(seed), trace=Trace(keep_lines=True), without=without)
    assert not cluster.run().violations
    happened = [(time, text) for time, text in cluster.trace.lines if text.startswith("fault ")]
    return {int(text.split()[1]): (time, text) for time, text in happened}


@pytest.mark.parametrize("seed", [9, 12])
def test_a_fault_that_is_left_out_changes_no_other(seed: int) -> None:
    everything = struck(seed)
    assert everything == {fault.index: (fault.time, str(fault)) for fault in plan(derive(seed)) if is_told(fault)}
    for without in (next(iter(everything)), sorted(everything)[len(everything) // 2], max(everything)):
        left = {index: happened for index, happened in everything.items() if index != without}
        assert struck(seed, (without,)) == left


def is_told(planned: PlannedFault) -> bool:
    """Steps of the wall clock are no events: a run with them is the same, trace and all."""
    return not isinstance(planned.fault, StepWallClock)


def test_a_batch_reports_its_failures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0..1", "--nodes", "3", "--coverage"]) == 0
    printed = capsys.readouterr().out
    assert "2 runs, 0 failed" in printed


@pytest.mark.skipif(SEEDS < 1000, reason="a thousand seeds are needed to expect every counter above zero")
def test_nothing_required_stays_unseen() -> None:
    seen: set[str] = set()
    for seed in range(1000):
        seen.update(name for name, times in Cluster(derive(seed)).run().coverage.items() if times)
        if seen.issuperset(REQUIRED):
            return
    pytest.fail(f"never seen: {sorted(set(REQUIRED) - seen)}")
