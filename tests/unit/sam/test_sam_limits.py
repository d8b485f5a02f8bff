"""Limits: the judge by tables; the look at many processes against psutil; the sam process against real hogs."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.ipc.messages.sam import Limits
from totemd.sam import procstat
from totemd.sam.limit_watch import tree, usage_of
from totemd.sam.limits import LimitJudge, Usage, sample_seconds, size_text
from totemd.sam.procstat import parse

MEGABYTE = 1024**2


def usage(*, rss: int = 0, threads: int = 1, files: int = 0, cpu: dict[tuple[int, int], float] | None = None) -> Usage:
    return Usage(rss, threads, files, cpu or {})


def memory(*samples: tuple[float, int]) -> list[str]:
    """What the judge of a limit of 100 MB for 10 s says to samples (when, megabytes)."""
    judge = LimitJudge(Limits(rss_bytes=100 * MEGABYTE, window_seconds=10))
    return [judge.sample(1, usage(rss=value * MEGABYTE), now) for now, value in samples]


@pytest.mark.parametrize(
    "samples",
    [
        [(0, 100), (20, 100)],
        [(0, 101), (9.9, 500)],
        [(0, 101), (5, 100), (11, 500), (20, 500)],
    ],
)
def test_memory_that_is_within_its_limit_or_over_it_for_a_while(samples: list[tuple[float, int]]) -> None:
    assert memory(*samples) == [""] * len(samples)


def test_memory_that_is_over_its_limit_for_the_window() -> None:
    assert memory((0, 101), (5, 150), (10, 120)) == ["", "", "memory: 120M, more than 100M for 10 s"]


@pytest.mark.parametrize(
    ("limits", "what", "problem"),
    [
        (Limits(threads=4, window_seconds=1), usage(threads=5), "threads: 5, more than 4 for 1 s"),
        (Limits(open_files=4, window_seconds=1), usage(files=5), "open files: 5, more than 4 for 1 s"),
        (Limits(window_seconds=1), usage(rss=10**12, threads=10**6, files=10**6, cpu={(1, 1): 10**6}), ""),
    ],
)
def test_other_numbers(limits: Limits, what: Usage, problem: str) -> None:
    judge = LimitJudge(limits)
    assert judge.sample(1, what, 0.0) == ""
    assert judge.sample(1, what, 1.0) == problem


def cpu(*samples: tuple[float, dict[int, float]]) -> list[str]:
    """What the judge of half a processor for 10 s says to samples (when, {pid: seconds})."""
    judge = LimitJudge(Limits(cpu_share=0.5, window_seconds=10))
    return [judge.sample(1, usage(cpu={(pid, 7): used for pid, used in by.items()}), now) for now, by in samples]


def test_processor_time_is_an_average_over_the_window() -> None:
    steady = [(float(t), {1: 100 + 0.49 * t}) for t in range(30)]
    assert not any(cpu(*steady))
    busy = [(float(t), {1: 0.6 * t}) for t in range(12)]
    assert [bool(each) for each in cpu(*busy)] == [False] * 10 + [True] * 2
    assert cpu(*busy)[-1] == "processor time: 60%, more than 50% for 10 s"


def test_a_short_peak_of_processor_time_is_no_failure() -> None:
    peak = [(0.0, {1: 0.0}), (4.0, {1: 4.0}), (8.0, {1: 4.0}), (12.0, {1: 4.0}), (16.0, {1: 4.0})]
    assert not any(cpu(*peak))


def test_processor_time_of_processes_that_come_and_go_adds_up() -> None:
    """Each second another process, which has used 0.6 s when it is seen first."""
    samples = [(float(t), {t: 0.6, 1000: 3.0}) for t in range(12)]
    assert [bool(each) for each in cpu(*samples)] == [False] * 10 + [True] * 2


def test_another_instance_is_judged_anew() -> None:
    judge = LimitJudge(Limits(rss_bytes=1, cpu_share=0.1, window_seconds=10))
    hog = {(5, 5): 0.0}
    assert judge.sample(1, usage(rss=5, cpu=hog), 0) == ""
    assert judge.sample(2, usage(rss=5, cpu={(6, 6): 10.0}), 10) == ""
    assert judge.sample(2, usage(rss=5, cpu={(6, 6): 10.0}), 19) == ""
    assert judge.sample(2, usage(rss=5), 20)


@given(st.floats(0.1, 10**6))
def test_samples_are_neither_too_many_nor_too_few(window: float) -> None:
    assert 0.5 <= sample_seconds(window) <= 10
    assert sample_seconds(10) == 2.5


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (1023, "1023"), (1024, "1K"), (1.5 * 2**30, "1.5G"), (2**51, "2048T")]
)
def test_sizes_for_people(size: float, text: str) -> None:
    assert size_text(int(size)) == text


# -- looking


def test_what_is_seen_is_what_psutil_sees() -> None:
    mine, seen = psutil.Process(), procstat.read(os.getpid())
    assert seen is not None
    assert (seen.parent, seen.threads, seen.session) == (mine.ppid(), mine.num_threads(), os.getsid(0))
    assert seen.rss_bytes == pytest.approx(mine.memory_info().rss, rel=0.2)
    times = mine.cpu_times()
    assert seen.cpu_seconds == pytest.approx(times.user + times.system, abs=0.5)
    assert procstat.open_files(os.getpid()) == pytest.approx(mine.num_fds(), abs=2)
    assert procstat.everybody()[os.getpid()].created == seen.created


def test_a_name_that_looks_like_the_rest_of_the_line() -> None:
    line = b"42 (a) S 1) (x) R 7 8 9 0 -1 4 1 2 3 4 150 50 0 0 20 0 3 0 1234 999 10 18446744073709551615 0"
    stat = parse(line)
    assert stat is not None
    assert (stat.state, stat.parent, stat.session, stat.threads, stat.created) == ("R", 7, 9, 3, 1234)
    assert stat.cpu_seconds == 200 / procstat.TICKS_PER_SECOND
    assert stat.rss_bytes == 10 * procstat.PAGE_BYTES


@pytest.mark.parametrize("line", [b"", b"42 (x) S 1", b"no line", b"42 (x) S" + b" x" * 50])
def test_what_is_no_line(line: bytes) -> None:
    assert parse(line) is None


def test_who_is_gone_is_not_seen() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert procstat.read(child.pid) is None and procstat.open_files(child.pid) == 0


def test_trees() -> None:
    children = {1: [2, 3], 3: [4], 9: [10]}
    assert sorted(tree(1, children)) == [1, 2, 3, 4]
    assert list(tree(0, {0: [1]})) == []


def test_the_use_of_a_family(children: list[subprocess.Popen[bytes]]) -> None:
    program = (
        "import time, threading; x = bytearray(50_000_000)\n"
        "threading.Thread(target=time.sleep, args=(1000,)).start(); print(flush=True)"
    )
    for _ in range(2):
        children.append(subprocess.Popen([sys.executable, "-S", "-c", program], stdout=subprocess.PIPE))
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    found = usage_of([child.pid for child in children] + [2**22 - 1], procstat.everybody(), files=True)
    assert found.rss_bytes > 100_000_000 and found.threads == 4 and found.open_files >= 6
    assert len(found.cpu_seconds) == 2
    assert usage_of([children[0].pid], procstat.everybody(), files=False).open_files == 0
    for child in children:
        assert child.stdout is not None
        child.stdout.close()
