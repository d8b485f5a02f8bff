"""Recordings of simulated nodes replay to identical effects, from wherever their oldest checkpoint is.

The cores go through every kind of fault here, so this also shows that the core asks nobody but its inputs, and that a
checkpoint holds all of its state.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import simcluster.node
from simcluster.cluster import Cluster
from simcluster.options import derive
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.recorder.format import Header, Kind, decode_records, encode_dump
from totemd.executive.totem.recorder.replay import Replay, read_recording
from totemd.executive.totem.recorder.ring import RecordedRing
from totemd.executive.totem.recorder.tape import SLOTS, buffer_bytes

SEEDS = 20
HEADER = Header("0.1.0", "", 1, 1, 1, "sim", wall=0.0, clock=0.0)
SMALL, LARGE = 200_000, 4_000_000
"""Bytes of a recording: one that begins many segments, so that replays start in the middle, and one that keeps all."""


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[RecordedRing]]:
    """Has every core of the runs that follow recorded; the list fills up with them."""

    def install(recording_bytes: int) -> list[RecordedRing]:
        made: list[RecordedRing] = []

        def make(parameters: RingParameters, boot_sequence: int, jitter: Callable[[], float]) -> RecordedRing:
            ring = RecordedRing(parameters, boot_sequence, jitter)
            ring.record(bytearray(buffer_bytes(recording_bytes)))
            made.append(ring)
            return ring

        monkeypatch.setattr(simcluster.node, "Ring", make)
        return made

    return install


def replayed(ring: RecordedRing) -> Replay:
    assert ring.tape is not None
    replay = Replay(read_recording(encode_dump(HEADER, ring.tape.segments())))
    for step in replay.steps():
        assert not step.problem, step
        assert not step.note, step
    return replay


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_same_inputs_lead_to_the_same_effects(seed: int, rings: Callable[[int], list[RecordedRing]]) -> None:
    made = rings(SMALL if seed % 2 else LARGE)
    Cluster(derive(seed)).run()
    for ring in made:
        replay = replayed(ring)
        assert ring.tape is not None
        assert ring.tape.without_checkpoint == 0
        assert replay.skipped == 0
        assert ring.tape.generation > SLOTS or replay.replayed > 0


def test_being_recorded_changes_nothing(rings: Callable[[int], list[RecordedRing]]) -> None:
    plain = Cluster(derive(5)).run()
    rings(SMALL)
    assert Cluster(derive(5)).run().digest == plain.digest


def test_a_replay_can_start_at_every_checkpoint(rings: Callable[[int], list[RecordedRing]]) -> None:
    made = rings(SMALL // 2)
    Cluster(derive(7)).run()
    tape = max(made, key=lambda ring: ring.tape.generation if ring.tape else 0).tape
    assert tape is not None and tape.generation >= 3
    segments = tape.segments()
    for start in range(len(segments)):
        replay = Replay(read_recording(encode_dump(HEADER, segments[start:])))
        assert not [step for step in replay.steps() if step.problem]
        inputs = [each for part in segments[start:] for each in decode_records(part)]
        kinds = {Kind.CHECKPOINT, Kind.JITTER}
        assert replay.replayed == sum(record.kind not in kinds for record in inputs)


def test_a_core_that_decides_otherwise_is_noticed(
    rings: Callable[[int], list[RecordedRing]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison can fail: a rule that is changed between recording and replay is named with its input."""
    made = rings(LARGE)
    Cluster(derive(3)).run()
    monkeypatch.setattr("totemd.executive.totem.core.origination.units", lambda payload, datagram: 3)
    assert made[1].tape is not None
    replay = Replay(read_recording(encode_dump(HEADER, made[1].tape.segments())))
    problems = {step.problem for step in replay.steps() if step.problem}
    assert problems & {"other effects than recorded"}
    assert replay.different
