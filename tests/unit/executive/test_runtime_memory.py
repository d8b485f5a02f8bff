"""What is freed stays at hand: fewer page faults for large messages."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from totemd.executive.runtime import memory
kept = memory.keep_what_is_freed() if sys.argv[1] == "keep" else True
def work():
    return [b"x" * 1_000_000 for _ in range(10)]
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    work()
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> tuple[bool, int]:
    result = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
    kept, count = result.stdout.split()
    return kept == "1", int(count)


def test_large_blocks_are_not_fetched_from_the_kernel_again_and_again() -> None:
    kept, few = faults("keep")
    if not kept:
        pytest.skip("this C library cannot be told")
    assert few < faults("leave")[1] / 4
