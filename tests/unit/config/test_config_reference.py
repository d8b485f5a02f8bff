"""The reference page says what the table says."""

from __future__ import annotations

from pathlib import Path

from totemd.executive.config.reference import render
from totemd.executive.config.schema import OPTIONS

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_committed_page_is_what_the_table_renders() -> None:
    assert PAGE.read_text() == render(), "python -m totemd.executive.config.reference > docs/configuration.md"


def test_every_option_is_on_the_page() -> None:
    rows = [line for line in render().splitlines() if line.startswith("| `")]
    assert len(rows) == len(OPTIONS)
    assert all(line.count(" | ") == 5 for line in rows)
