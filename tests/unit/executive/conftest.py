"""Fixtures of the executive's tests; makes `executivekit` importable for the tests beside this file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = str(Path(__file__).resolve().parent)

if HERE not in sys.path:
    sys.path.insert(0, HERE)

from executivekit import FakeNode  # noqa: E402


@pytest.fixture
def node(tmp_path: Path) -> Iterator[FakeNode]:
    """A node that has not been started."""
    made = FakeNode(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def running_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeNode]:
    """A node that serves; for tests that only look."""
    made = FakeNode(tmp_path_factory.mktemp("node"))
    made.start()
    yield made
    made.close()
