"""Answers for totemctl that are put together here: members, cmap, labels."""

from __future__ import annotations

from totemd.executive.config.model import Configuration, NodeEntry
from totemd.executive.supervisor.cmap import view
from totemd.executive.supervisor.desk import labelled, member_table
from totemd.ipc.ids import RingId
from totemd.ipc.messages.control import Metric, NodeInfo, RingAnswer

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


def test_numbers_tell_their_process() -> None:
    metric = Metric("totemd_x_total", "counter", 3, "X.", (("link", "0"),))
    assert labelled("totem", (metric,))[0].labels == (("process", "totem"), ("link", "0"))
