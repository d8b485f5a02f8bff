"""Every decoder against any bytes: accepted or refused in the documented way, within bounds; and the corpus again."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from fuzzkit.table import CORPUS, TARGETS
from fuzzkit.target import INPUT_BYTES_MAX, Target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MEMORY_BYTES_MAX = 4 * 1024 * 1024
"""What a decoder may use at one time for an input of a few kilobytes."""

CORPUS_FILE_BYTES_MAX = INPUT_BYTES_MAX
CORPUS_FILES_MAX = 60
"""Bounds of one target's folder in the corpus."""

every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def corpus_of(target: Target) -> list[Path]:
    return sorted((CORPUS / target.name).iterdir())


@every_target
def test_samples_are_accepted(target: Target) -> None:
    samples = list(target.samples())
    assert samples
    for sample in samples:
        assert target.check(sample), sample


@every_target
def test_the_corpus_again(target: Target) -> None:
    files = corpus_of(target)
    assert 0 < len(files) <= CORPUS_FILES_MAX
    for file in files:
        data = file.read_bytes()
        assert len(data) <= CORPUS_FILE_BYTES_MAX, file
        target.check(data)


def test_the_corpus_has_no_other_folders() -> None:
    assert {each.name for each in CORPUS.iterdir()} == TARGETS.keys()


@every_target
@some
@given(data=st.binary(max_size=300))
def test_any_bytes(target: Target, data: bytes) -> None:
    target.check(data)


@every_target
@some
@given(data=st.data())
def test_samples_that_were_changed(target: Target, data: st.DataObject) -> None:
    changed = bytearray(data.draw(st.sampled_from(list(target.samples())), label="sample"))
    for _ in range(data.draw(st.integers(1, 4), label="changes")):
        at = data.draw(st.integers(0, len(changed)), label="where")
        match data.draw(st.sampled_from(["byte", "cut", "insert", "remove", "repeat"]), label="how"):
            case "byte" if at < len(changed):
                changed[at] = data.draw(st.integers(0, 255), label="value")
            case "cut":
                del changed[at:]
            case "remove":
                del changed[at : at + data.draw(st.integers(1, 8), label="bytes")]
            case "repeat":
                changed[at:at] = changed[at : at + data.draw(st.integers(1, 64), label="bytes")]
            case _:
                changed[at:at] = data.draw(st.binary(min_size=1, max_size=8), label="bytes")
    target.check(bytes(changed))


@every_target
def test_samples_that_were_cut(target: Target) -> None:
    """At every place, as a full disk or a broken connection would."""
    for sample in target.samples():
        step = max(1, len(sample) // 64)
        for length in range(0, len(sample), step):
            target.check(sample[:length])


@every_target
def test_promises_of_much_cost_little(target: Target) -> None:
    """A few bytes that announce gigabytes, anywhere in a valid input; deep nesting; long rubbish."""
    inputs = [bytes(INPUT_BYTES_MAX), b"\xff" * INPUT_BYTES_MAX]
    for sample in target.samples():
        step = max(1, len(sample) // 16)
        inputs += [sample[:at] + bomb + sample[at:] for bomb in target.bombs for at in range(0, len(sample), step)]
    tracemalloc.start()
    try:
        for data in inputs:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            target.check(data)
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before <= MEMORY_BYTES_MAX, data[:80]
    finally:
        tracemalloc.stop()
