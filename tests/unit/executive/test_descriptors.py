"""A process that serves many has the descriptors for it."""

from __future__ import annotations

import resource
import subprocess
import sys

from totemd.executive.runtime.descriptors import DESCRIPTORS_WANTED

PROGRAM = """
import resource
from totemd.executive.runtime.descriptors import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (256, HARD))
print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limits(hard: int) -> list[int]:
    program = PROGRAM.replace("HARD", str(hard))
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(each) for each in run.stdout.split()]


def test_the_soft_limit_is_raised_as_far_as_the_hard_one_allows() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(DESCRIPTORS_WANTED, hard)
    assert limits(hard) == [wanted, wanted, hard]
    assert limits(1_000) == [1_000, 1_000, 1_000]
