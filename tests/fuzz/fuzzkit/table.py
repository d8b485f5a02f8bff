"""All targets: one table for the tests, the replay of the corpus, and the coverage-guided fuzzer."""

from __future__ import annotations

from pathlib import Path

from fuzzkit import (
    targets_files,
    targets_ipc,
    targets_keeper,
    targets_quorum,
    targets_recorder,
    targets_replica,
    targets_sam,
    targets_supervision,
    targets_wire,
)
from fuzzkit.target import Target

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
"""One folder of small inputs for each target."""

TARGETS: dict[str, Target] = {
    target.name: target
    for targets in (
        targets_wire,
        targets_ipc,
        targets_quorum,
        targets_sam,
        targets_keeper,
        targets_supervision,
        targets_recorder,
        targets_replica,
        targets_files,
    )
    for target in targets.TARGETS
}
