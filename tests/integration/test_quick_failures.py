"""Dead processes are noticed long before the token timeout; forged news and pauses are no failures."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import pytest
import totemd
from kit.members import Recorder
from totemd.testing import Cluster, wait_until

TOKEN_MS = 20_000
"""So long that whatever happens within `QUICK_SECONDS_BUSY` has not waited for it."""

QUICK_SECONDS = 0.5
"""The goal; a busy machine gets more."""

QUICK_SECONDS_BUSY = 8.0
INSTALLED = "A new membership"
ICMP_UNREACHABLE, ICMP_PORT = 3, 3


@pytest.fixture(scope="module")
def patient() -> Iterator[Cluster]:
    """Three nodes that wait twenty seconds for a lost token."""
    with Cluster(3, token=TOKEN_MS, faults=False) as cluster:
        yield cluster


def told_after(members: Recorder, survivors: tuple[int, ...], dead: int, began: float) -> float:
    for survivor in survivors:
        change = members[survivor].wait_for_reason(totemd.Reason.NODE_DOWN, QUICK_SECONDS_BUSY)
        assert [each.node_id for each in change.left] == [dead]
        assert [each.node_id for each in change.members] == list(survivors)
    took = time.monotonic() - began
    print(f"told after {took:.2f} s; the goal is {QUICK_SECONDS} s")
    return took


def test_the_executive_speaks_for_its_dead_totem_process(patient: Cluster) -> None:
    with Recorder(patient, group="obituary") as members:
        began = time.monotonic()
        patient[2].kill_process("totem")
        assert told_after(members, (1, 3), 2, began) < QUICK_SECONDS_BUSY
        assert "The totem process of node 2 has ended" in patient[1].log
        patient.wait_for_ring({1, 2, 3})
        members.wait_for_members(3)
        members.wait_for_payloads(members.everybody_sends(20))


def test_a_dead_family_is_found_out(patient: Cluster) -> None:
    with Recorder(patient, group="family") as members:
        began = time.monotonic()
        patient[3].kill()
        assert told_after(members, (1, 2), 3, began) < QUICK_SECONDS_BUSY
        patient.wait_for_ring({1, 2})
        patient[3].start()
        patient.wait_for_ring({1, 2, 3})
        members.wait_for_members(3)


def test_a_node_that_is_back_at_once_is_a_member_again(patient: Cluster) -> None:
    with Recorder(patient, group="quick return") as members:
        members.everybody_sends(20)
        began = time.monotonic()
        patient[2].kill()
        patient[2].launch()
        patient[2].wait_for_processes()
        patient.wait_for_ring({1, 2, 3})
        members.wait_for_members(3)
        assert time.monotonic() - began < TOKEN_MS / 1000
        members.wait_for_payloads(members.everybody_sends(20))
        assert members[1].messages[-1] == members[2].messages[-1] == members[3].messages[-1]


def test_a_stopped_family_keeps_the_token_timeout(patient: Cluster) -> None:
    """It closes no port, so nobody gives it up early; and when it goes on it has accused nobody."""
    ring = patient[1].stands()
    patient[2].pause()
    try:
        time.sleep(2.0)
        assert patient[1].stands() == ring
    finally:
        patient[2].resume()
    patient.wait_for_ring({1, 2, 3})
    assert patient[1].stands() == ring, "nothing has changed"


def port_unreachable(about: str, told: str, port: int, quoted: bytes) -> bytes:
    """An ICMP message: *told* has sent *quoted* to *about*, where nobody listens."""
    udp = struct.pack("!HHHH", port, port, 8 + len(quoted), 0) + quoted
    inner = struct.pack(
        *("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP, 0),
        *(socket.inet_aton(told), socket.inet_aton(about)),
    )
    message = struct.pack("!BBHI", ICMP_UNREACHABLE, ICMP_PORT, 0, 0) + inner + udp
    padded = message + b"\0" * (len(message) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return message[:2] + struct.pack("!H", checksum) + message[4:]


def test_forged_reports_of_closed_ports_change_nothing(patient: Cluster) -> None:
    try:
        forger = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    except PermissionError:
        pytest.skip("only root can forge ICMP")
    ring = patient[1].stands()
    hints = patient[1].metric("totemd_ring_events_total", event="suspicion.hint")
    two, one = patient.addresses[2], patient.addresses[1]
    with forger:
        forger.bind((two, 0))
        seen = patient[1].metric("totemd_link_total", event="port_closed")
        for number in range(200):
            quoted = bytes([0x54, 0x10]) + number.to_bytes(4, "big") * 20
            forger.sendto(port_unreachable(two, one, patient.port, quoted), (one, 0))
        wait_until(
            lambda: patient[1].metric("totemd_link_total", event="port_closed") > seen, 20, "the kernel reports them"
        )
    assert patient[1].metric("totemd_frames_total", event="quotes_refused") > 0
    assert patient[1].metric("totemd_ring_events_total", event="suspicion.hint") == hints
    assert patient[1].stands() == patient[3].stands() == ring


def test_a_family_that_was_stopped_for_longer_than_every_timeout_accuses_nobody() -> None:
    with Cluster(3, token=1500, token_coefficient=0, consensus=1800, faults=False) as cluster:
        cluster[2].pause()
        cluster.wait_for_ring({1, 3})
        time.sleep(5.0)  # the timeouts of the stopped node itself have passed, too
        before = {node: cluster[node].log.count(INSTALLED) for node in (1, 3)}
        cluster[2].resume()
        cluster.wait_for_ring({1, 2, 3})
        for node, count in before.items():
            lines = [line for line in cluster[node].log.splitlines() if INSTALLED in line][count:]
            assert all("left: " not in line for line in lines), lines
            assert len(lines) == 1, lines
