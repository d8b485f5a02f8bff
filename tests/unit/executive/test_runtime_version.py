"""One version."""

from __future__ import annotations

import tomllib
from pathlib import Path

from totemd.executive.runtime.version import VERSION


def test_it_is_the_packages() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION
