"""The pages about SAM say what the code does, and every scenario has the tests that its row names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from totemd import sam
from totemd.sam.calls import CHECKS_PER_INTERVAL
from totemd.sam.conduct import storable
from totemd.sam.monitor import FIRST_CHECK_SECONDS, OVERDUE_FACTOR, PERIOD_MS_MAX, PERIOD_MS_MIN
from totemd.sam.reactions import OVERSLEPT_SECONDS
from totemd.sam.reference import render

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "sam.md").read_text()
WHERE = {
    "P": "tests/unit/sam/test_sam_scenarios.py",
    "M": "tests/unit/sam/test_sam_monitor.py",
    "R": "tests/unit/sam/test_sam_client.py",
    "N": "tests/integration/test_sam_acceptance.py",
}
ROWS = re.findall(r"^\| (S[0-9, S]+) \| [^|]+ \| ([PMRN ]+) \|", PAGE, re.MULTILINE)


def test_the_committed_tables_are_what_the_code_renders() -> None:
    command = "python -m totemd.sam.reference > docs/sam-tables.md"
    assert (ROOT / "docs" / "sam-tables.md").read_text() == render(), command


def test_all_scenarios_have_a_row() -> None:
    numbers = [int(number) for names, _ in ROWS for number in re.findall(r"S(\d+)", names)]
    assert numbers == list(range(1, 33))


@pytest.mark.parametrize(("names", "places"), ROWS)
def test_every_scenario_has_the_tests_that_its_row_names(names: str, places: str) -> None:
    for number in map(int, re.findall(r"S(\d+)", names)):
        for place in places.split():
            tests = re.findall(r"^def (test_\w+)", (ROOT / WHERE[place]).read_text(), re.MULTILINE)
            assert any(f"s{number:02}" in test.split("_") for test in tests), (number, WHERE[place])


@pytest.mark.parametrize(
    "words",
    [
        f"more than {OVERSLEPT_SECONDS:g} s",
        f"({PERIOD_MS_MIN} to {PERIOD_MS_MAX} ms, else {FIRST_CHECK_SECONDS:g} s)",
        f"for {OVERDUE_FACTOR:g} intervals",
        f"at most {sam.STORED_BYTES_MAX // 1024**2} MiB (`STORED_BYTES_MAX`)",
    ],
)
def test_figures_of_the_page_are_those_of_the_code(words: str) -> None:
    assert words in PAGE


def test_every_public_name_is_explained() -> None:
    assert CHECKS_PER_INTERVAL == 4 and "four times in an interval" in PAGE
    assert storable(None) == b""
    for name in sam.__all__:
        assert re.search(rf"\b{name}\b", PAGE), name
