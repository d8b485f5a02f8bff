"""What a message may be, and how it arrives."""

from __future__ import annotations

import hashlib

import pytest
import totemd
from kit.members import Recorder
from totemd.testing import Cluster

MEBIBYTE = 1024 * 1024


def test_one_mebibyte_arrives_and_one_byte_more_is_refused(trio: Cluster) -> None:
    payload = hashlib.shake_256(b"large").digest(MEBIBYTE)
    with Recorder(trio, group="large") as members:
        members[1].group.mcast(payload)
        with pytest.raises(totemd.MessageTooLarge, match="1048576"):
            members[1].group.mcast(payload + b"!")
        members.wait_for_payloads([payload])
        assert all(member.payloads == [payload] for member in members)


def test_an_empty_message_is_a_message(trio: Cluster) -> None:
    with Recorder(trio, group="empty") as members:
        members[2].group.mcast(b"")
        members.wait_for_payloads([b""])
        assert all(member.messages == [(2, b"")] for member in members)


@pytest.mark.parametrize("guarantee", list(totemd.Guarantee))
def test_all_sizes_in_one_order(trio: Cluster, guarantee: totemd.Guarantee) -> None:
    sizes = [1, 100, 1_399, 1_400, 1_401, 15_999, 16_000, 16_001, 65_535, 65_536, 200_000]
    with Recorder(trio, group=f"sizes {guarantee.name}") as members:
        sent = []
        for size in sizes:
            for member in members:
                payload = hashlib.shake_256(b"%d:%d" % (member.node_id, size)).digest(size)
                member.group.mcast(payload, guarantee)
                sent.append(payload)
        members.wait_for_payloads([each for each in sent if len(each) > 1])
        assert members[1].messages == members[2].messages == members[3].messages
        assert sorted(members[1].payloads) == sorted(sent)


def test_group_names_have_limits(trio: Cluster) -> None:
    with trio[1].client() as client:
        with pytest.raises(totemd.GroupNameTooLong, match="128"):
            client.join("x" * 129)
        with pytest.raises(totemd.InvalidArgument):
            client.join("")
        with client.join("é" * 64) as group:
            assert group.name == "é" * 64


def test_a_group_hears_only_its_own(trio: Cluster) -> None:
    with Recorder(trio, group="one") as one, Recorder(trio, group="other") as other:
        one[1].group.mcast(b"for one")
        other[2].group.mcast(b"for other")
        one.wait_for_payloads([b"for one"])
        other.wait_for_payloads([b"for other"])
        assert one[3].payloads == [b"for one"]
        assert other[3].payloads == [b"for other"]


def test_leaving_is_told_to_everybody_and_to_oneself(trio: Cluster) -> None:
    with Recorder(trio, group="leave") as members:
        members[1].group.leave()
        change = members[2].wait_for_reason(totemd.Reason.LEAVE)
        assert [member.node_id for member in change.left] == [1]
        with pytest.raises(totemd.NotMember):
            members[1].group.mcast(b"too late")
