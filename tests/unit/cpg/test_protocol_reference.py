"""The pages about the protocol say what the definitions say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from totemd.ipc.codec import CONTROL_BYTES_MAX
from totemd.ipc.errors import Status
from totemd.ipc.ids import GROUP_NAME_BYTES_MAX, MESSAGE_BYTES_MAX, Reason
from totemd.ipc.messages import common, cpg
from totemd.ipc.reference import TO_CLIENT, TO_SERVICE, fields, name_of, render
from totemd.ipc.server import SESSIONS_MAX
from totemd.services.cpg.audience import BACKLOG_BYTES_ALL_MAX, ClientLimits
from totemd.services.cpg.wire import MEMBERSHIPS_MAX

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "protocol.md").read_text()
ROW = re.compile(r"^\| `(?P<type>[a-z]+)` \| (?P<fields>[^|]*) \|", re.MULTILINE)
CONNECTION = {"hello", "welcome", "refused", "unwelcome"}
"""Not in the tables of verbs but in the section about the hello."""


def test_the_committed_page_is_what_the_definitions_render() -> None:
    command = "python -m totemd.ipc.reference > docs/protocol-messages.md"
    assert (DOCS / "protocol-messages.md").read_text() == render(), command


def rows(title: str, end: str) -> dict[str, str]:
    section = PAGE[PAGE.index(f"## {title}") : PAGE.index(f"## {end}")]
    return {row["type"]: row["fields"] for row in ROW.finditer(section) if row["type"] != "type"}


@pytest.mark.parametrize(
    ("title", "end", "messages"),
    [
        ("Verbs of a client", "What a client gets", TO_SERVICE),
        ("What a client gets", "Credit", TO_CLIENT),
    ],
)
def test_every_message_is_explained_with_all_its_fields(title: str, end: str, messages: tuple[type, ...]) -> None:
    explained = rows(title, end)
    defined = {name_of(each): each for each in messages if name_of(each) not in CONNECTION}
    if messages is TO_CLIENT:
        del defined["goodbye"]  # It is among the verbs, and means the same.
    assert explained.keys() == defined.keys()
    for name, message in defined.items():
        named = re.sub(r"\([^)]*\)", "", explained[name])
        assert re.findall(r"`([a-z_]+)`", named) == list(fields(message)), name


def test_the_hello_is_explained_with_its_fields() -> None:
    section = PAGE[PAGE.index("## Hello") : PAGE.index("## Verbs")]
    for message in (common.Hello, common.Welcome, common.Refused, common.Unwelcome):
        assert name_of(message) in section
        assert all(name in PAGE for name in fields(message)), message


@pytest.mark.parametrize(
    "words",
    [
        f"Protocol {common.PROTOCOL[0]}.{common.PROTOCOL[1]}",
        f"1 to {GROUP_NAME_BYTES_MAX} bytes",
        f"{cpg.BATCH_BYTES_ASSURED // 1024} KiB before",
        f"at most {cpg.BATCH_BYTES_MAX // 1024} KiB",
        f"({MESSAGE_BYTES_MAX:,} bytes)",
        f"at most {cpg.SAY_BYTES_MAX:,} bytes",
        f"in 1 to {cpg.BATCH_FRAMES_MAX} frames",
        f"batch plus {cpg.BATCH_COST_BYTES} ",
        f"at least every {common.HEARTBEAT_SECONDS:g} s",
        f"dead after {common.HEARTBEAT_DEADLINE_SECONDS:g} s",
        f"({ClientLimits().backlog_bytes // 1024**2} MiB by default)",
        f"or more than {CONTROL_BYTES_MAX // 1024**2} MiB",
        f"has {SESSIONS_MAX:,} connections",
        f"has {MEMBERSHIPS_MAX:,} memberships",
        f"together leave {BACKLOG_BYTES_ALL_MAX // 1024**2} MiB",
        *(f"{reason.value} {reason.name.lower().replace('_', ' ')}" for reason in Reason if reason),
    ],
)
def test_numbers_are_those_of_the_code(words: str) -> None:
    assert words in PAGE


def test_statuses_that_are_named_exist() -> None:
    named = set(re.findall(r"`([a-z]+-[a-z-]+)`", PAGE))
    assert named <= {status.value for status in Status}
    assert "not-member" in named
