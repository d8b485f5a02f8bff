"""Makes the helpers beside this file importable for its tests, and gives them nodes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from totemd.ipc.messages.cpg import CLIENT_CREDIT_BYTES
from totemd.services.cpg import audience

HERE = str(Path(__file__).resolve().parent)

if HERE not in sys.path:
    sys.path.insert(0, HERE)

from cpgkit import Rig  # noqa: E402
from enginekit import Bench  # noqa: E402


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


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Credit is told of at once, so that every refund can be seen."""
    monkeypatch.setattr(audience, "CREDIT_PARTS", CLIENT_CREDIT_BYTES)
    made = Bench()
    made.ring()
    return made
