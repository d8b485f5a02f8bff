"""Answers for totemctl that are put together here: members, cmap, labels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from totemd.executive.config.model import Configuration, NodeEntry, QuorumOptions
from totemd.executive.supervisor.cmap import CANCEL_WAIT_FOR_ALL, view
from totemd.executive.supervisor.desk import Desk, labelled, member_table
from totemd.ipc.errors import InvalidArgument, NotFound, TryAgain
from totemd.ipc.ids import RingId
from totemd.ipc.messages.control import Metric, NodeInfo, QuorumAnswer, QuorumQuestion, RingAnswer

CONFIGURATION = Configuration(
    nodes=(NodeEntry(5, "beta", ("10.0.0.5", "10.1.0.5")), NodeEntry(2, "", ("10.0.0.2", "10.1.0.2"))),
    local_node_id=2,
    cmap={"totem.token": 3000, "x.foreign": "kept"},
)


def test_members_are_the_list_and_the_ring_together() -> None:
    assert member_table(CONFIGURATION, (2, 9)) == (
        NodeInfo(2, "", ("10.0.0.2", "10.1.0.2"), "joined", True),
        NodeInfo(5, "beta", ("10.0.0.5", "10.1.0.5"), "absent", False),
        NodeInfo(9, "", (), "joined", False),
    )


def test_nobody_is_called_absent_while_the_ring_is_not_known() -> None:
    """The local node above all: the ring's process is hung or down, and the network may be well."""
    nodes = asyncio.run(Desk(FakeNode("", {})).members(1)).nodes
    assert [(node.node_id, node.state) for node in nodes] == [(1, "unknown")]
    assert [node.state for node in member_table(CONFIGURATION, None)] == ["unknown", "unknown"]


def test_cmap_has_the_ring_while_there_is_one() -> None:
    ring = RingAnswer(1, "operational", RingId(8, 2), (2, 9), "none")
    assert view(CONFIGURATION, ring) == {
        "totem.token": 3000,
        "x.foreign": "kept",
        "runtime.members.2.ip": "r(0) ip(10.0.0.2) r(1) ip(10.1.0.2)",
        "runtime.members.2.status": "joined",
        "runtime.members.5.ip": "r(0) ip(10.0.0.5) r(1) ip(10.1.0.5)",
        "runtime.members.5.status": "left",
        "runtime.members.9.ip": "",
        "runtime.members.9.status": "joined",
    }
    assert view(CONFIGURATION, None) == {"totem.token": 3000, "x.foreign": "kept"}


def test_cmap_has_the_votes_while_somebody_counts_them() -> None:
    quorum = QuorumAnswer(1, True, {"runtime.votequorum.two_node": 0})
    assert view(Configuration(), None, quorum) == {"runtime.votequorum.two_node": 0, CANCEL_WAIT_FOR_ALL: 0}


class FakeNode:
    """An executive whose children answer what the test says; an error is raised."""

    run_dir, pid, uptime_seconds, connected = "/run", 1, 0.0, ()

    def __init__(self, provider: str, answers: dict[str, Any]) -> None:
        self.configuration = Configuration(quorum=QuorumOptions(provider))
        self.questions: Any = self
        self.answers = answers
        self.asked: list[Any] = []

    async def ask(self, child: str, question: Callable[[int], Any]) -> Any:
        self.asked.append(question(1))
        answer = self.answers.get(child, TryAgain("it is away"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def processes(self) -> dict[str, Any]:
        return {}

    def own_metrics(self) -> tuple[Metric, ...]:
        return ()


@pytest.mark.parametrize(
    ("provider", "answers", "quorate"),
    [
        ("", {}, None),
        ("corosync_votequorum", {"quorum": QuorumAnswer(1, True, {})}, True),
        ("corosync_votequorum", {"quorum": QuorumAnswer(1, False, {})}, False),
        ("corosync_votequorum", {}, False),
    ],
)
def test_a_node_is_quorate_when_somebody_says_so(provider: str, answers: dict[str, Any], quorate: bool | None) -> None:
    assert asyncio.run(Desk(FakeNode(provider, answers)).status(1)).quorate is quorate


def test_waiting_for_all_is_cancelled_by_a_key() -> None:
    node = FakeNode("corosync_votequorum", {"quorum": QuorumAnswer(1, True, {})})
    asyncio.run(Desk(node).cancel_wait_for_all("1"))
    assert node.asked == [QuorumQuestion(1, True)]
    with pytest.raises(InvalidArgument, match="is set to 1, not to '0'"):
        asyncio.run(Desk(node).cancel_wait_for_all("0"))
    with pytest.raises(NotFound, match="no quorum provider"):
        asyncio.run(Desk(FakeNode("", {})).cancel_wait_for_all("1"))


def test_numbers_tell_their_process() -> None:
    metric = Metric("totemd_x_total", "counter", 3, "X.", (("link", "0"),))
    assert labelled("totem", (metric,))[0].labels == (("process", "totem"), ("link", "0"))
