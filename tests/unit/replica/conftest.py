"""Makes the helpers beside this file, and the model of rings of the cpg tests, importable."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

for folder in (HERE, HERE.parent / "cpg"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from cpgkit import Rig  # noqa: E402


@pytest.fixture(scope="module")
def pair() -> Iterator[Rig]:
    """Two nodes that stay; tests use groups of their own."""
    rig = Rig(1, 2)
    yield rig
    rig.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    """Two nodes to break."""
    rig = Rig(1, 2)
    yield rig
    rig.close()
