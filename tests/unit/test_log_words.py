"""What operators read of the ring's facts: words for all of them, nothing internal, and each in docs/operations.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import CapturingLogger
from totemd.executive.totem.core.effects import Fact, Level
from totemd.executive.totem.links.complaints import Complaints
from totemd.executive.totem.log_words import WORDING, say

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "executive" / "totem" / "core"

INSTALLED = {
    **{"ring": "1.5", "members": (1, 3), "joined": (), "left": (), "left_cleanly": ()},
    **{"because": "another ring was heard", "took_ms": 1.5, "rounds": 2},
}
GATHER = {"because": "another ring was heard", "state": "operational", "candidates": (1, 3), "failed": ()}

SAID: list[tuple[str, dict[str, Any], str]] = [
    ("ring.installed", INSTALLED, "A new membership (1.5) was formed. Members"),
    (
        "ring.installed",
        {**INSTALLED, "joined": (3,), "left": (2, 4), "left_cleanly": (2, 4)},
        "A new membership (1.5) was formed. Members joined: 3 left: 2 4",
    ),
    ("ring.gather", GATHER, "Looking for a new membership: another ring was heard. Candidates: 1 3"),
    (
        "ring.gather",
        {**GATHER, "state": "commit", "failed": (2, 4)},
        "Looking for a new membership: another ring was heard (in commit). Candidates: 1 3 failed: 2 4",
    ),
    ("ring.leave", {"ring": "1.5"}, "Leaving the ring (1.5)."),
    ("ring.consensus_timeout", {"missing": (2, 3)}, "No consensus in time. Regarded as failed: 2 3"),
    (
        "ring.suspect",
        {"suspect": 3, "failed": (2, 3)},
        "The token does not get past node 3. Regarded as failed: 2 3",
    ),
    (
        "ring.token_lost",
        {"timeout_ms": 1000, "consensus_ms": 1200},
        "A processor failed, forming new configuration: token timed out (1000ms), waiting 1200ms for consensus.",
    ),
    ("ring.token_overdue", {"waited_ms": 750}, "Token has not been received in 750 ms"),
    ("ring.retransmit_list", {"missing": (26, 27)}, "Retransmit List: 1a 1b"),
    ("ring.process_ended", {"node": 3}, "The totem process of node 3 has ended, forming new configuration."),
    ("ring.process_gone", {"nodes": (3,)}, "Nobody listens any more at node 3, forming new configuration."),
    ("ring.node_removed", {"node": 3}, "Node 3 is not in the node list any more, forming new configuration."),
]


def line(event: str, fields: dict[str, Any], level: Level = Level.NOTICE) -> tuple[str, dict[str, Any]]:
    """The only line about it."""
    log = CapturingLogger()
    say(log, Complaints(), Fact(event, level, tuple(fields.items())), 0.0)  # type: ignore[arg-type]
    (call,) = log.calls
    return call.args[0], call.kwargs


@pytest.mark.parametrize(("event", "fields", "words"), SAID, ids=lambda value: value if isinstance(value, str) else "")
def test_facts_in_words(event: str, fields: dict[str, Any], words: str) -> None:
    assert line(event, fields)[0] == words


def test_the_values_that_follow_a_new_membership() -> None:
    because = INSTALLED["because"]
    assert line("ring.installed", INSTALLED)[1] == {"members": (1, 3), "because": because, "took_ms": 1.5, "rounds": 2}


def test_empty_values_are_not_said() -> None:
    """Of a fact for developers, which has no words."""
    fields = {"ring": "1.5", "survivors": (), "missing": (7,), "hole": 0}
    assert line("ring.recovery", fields, Level.DEBUG) == ("ring.recovery", {"ring": "1.5", "missing": (7,), "hole": 0})


def facts_of_the_core() -> Iterator[tuple[str, str]]:
    """Event and level of each call of `fact`."""
    for file in CORE.glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "fact":
                event, level = call.args[:2]
                assert isinstance(event, ast.Constant)
                yield str(event.value), level.attr if isinstance(level, ast.Attribute) else "several"


def test_every_fact_for_operators_has_words() -> None:
    facts = set(facts_of_the_core())
    assert {event for event, level in facts if level != "DEBUG"} == WORDING.keys()


@pytest.mark.parametrize("words", dict.fromkeys(re.split(r"[:.(]| \d", words)[0] for _, _, words in SAID))
def test_the_words_are_documented(words: str) -> None:
    assert f"`{words}" in (ROOT / "docs" / "operations.md").read_text()
