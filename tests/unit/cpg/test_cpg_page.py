"""docs/cpg.md names every promise and every scenario, and only tests that exist."""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path

import totemd
from totemd.ipc.ids import GROUP_NAME_BYTES_MAX
from totemd.ipc.server import SESSIONS_MAX
from totemd.services.cpg.wire import MEMBERSHIPS_MAX

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "cpg.md").read_text()


def test_every_promise_and_every_scenario_has_its_row() -> None:
    rows = re.findall(r"^\| ([AC]\d+(?:, C\d+)*) \|(.*)\|$", PAGE, re.MULTILINE)
    named = [each for numbers, _ in rows for each in numbers.split(", ")]
    assert sorted(named) == sorted(
        [*(f"C{number}" for number in range(1, 16)), *(f"A{number}" for number in range(1, 37))]
    )
    for numbers, row in rows:
        assert "`test_" in row or "not applicable:" in row or "not applicable, as" in row or "see [" in row, numbers


def test_every_test_that_is_named_exists() -> None:
    there = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        there.add(path.stem)
        there |= {each.name for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.FunctionDef)}
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 50
    assert named <= there, sorted(named - there)


def test_every_error_is_in_the_table_of_codes() -> None:
    section = PAGE[PAGE.index("## Error codes") : PAGE.index("## What members may rely on")]
    named = {name for name in re.findall(r"`([A-Z]\w+)`", section) if not hasattr(builtins, name)}
    errors = {name for name in totemd.__all__ if is_error(getattr(totemd, name))}
    assert named == errors, "all that the package offers, and nothing else"


def is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, totemd.TotemdError) and value is not totemd.TotemdError


def test_limits_are_those_of_the_code() -> None:
    for words in (
        f"`GROUP_NAME_BYTES_MAX` ({GROUP_NAME_BYTES_MAX})",
        f"has {SESSIONS_MAX:,} connections",
        f"has {MEMBERSHIPS_MAX:,} memberships",
    ):
        assert words in PAGE
