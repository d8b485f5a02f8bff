"""Nodes that are started find each other; nodes that do not belong stay out."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time

import pytest
from totemd.executive.totem.links.complaints import COMPLAINT_SECONDS
from totemd.testing import Cluster, wait_until

FORMATION_SECONDS = 3.0
"""The goal for three nodes at default timeouts on loopback, from the first command to the ring."""

FORMATION_SECONDS_BUSY = 10.0
"""What a busy machine gets from the last process to the ring: how long processes take to start is the machine's."""

IPV6_PROGRAM = """
import subprocess
from totemd.testing import Cluster
addresses = ["fd00:7::1", "fd00:7::2", "fd00:7::3"]
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
for address in addresses:
    subprocess.run(["ip", "-6", "addr", "add", address + "/128", "dev", "lo", "nodad"], check=True)
with Cluster(3, addresses=addresses, token=500, ip_version="ipv6") as cluster:
    print(cluster[1].status().members)
"""


def test_three_files_make_one_ring_in_three_seconds() -> None:
    with Cluster(3, start=False) as cluster:
        began = time.monotonic()
        for node in cluster:
            node.launch()
        for node in cluster:
            node.wait_for_processes()
        ready = time.monotonic()
        cluster.wait_for_ring({1, 2, 3}, FORMATION_SECONDS_BUSY)
        took, apart = time.monotonic() - began, time.monotonic() - ready
        print(f"one ring of three after {took:.2f} s, {apart:.2f} s of it alone; the goal is {FORMATION_SECONDS:g} s")
        status = cluster[1].status()
        assert (status.token_ms, status.consensus_ms) == (3650, 4380), "corosync's defaults for three nodes"
        assert status.cipher == "aes256"


def test_a_node_with_another_key_never_joins_and_is_logged_sparingly() -> None:
    with Cluster(3, start=False, token=1000, token_coefficient=0) as cluster:
        cluster[3].write_key(secrets.token_bytes(128))
        began = time.monotonic()
        for node in cluster:
            node.launch()
        for node in cluster:
            node.wait_for_processes()
        cluster.wait_for_ring({1, 2})
        cluster.wait_for_ring({3})
        before = cluster[1].stands()
        wait_until(
            lambda: "Invalid digest" in cluster[1].log and "Invalid digest" in cluster[3].log, 60, "both complain"
        )
        # The stranger sends join messages several times a second.  The ring stays as it is while they are refused.
        refused = cluster[1].metric("totemd_frames_total", event="dropped_invalid_digest")
        wait_until(
            lambda: cluster[1].metric("totemd_frames_total", event="dropped_invalid_digest") >= refused + 20,
            30,
            "20 more are refused",
        )
        assert cluster[1].stands() == before
        complaints = 1 + (time.monotonic() - began) / COMPLAINT_SECONDS
        assert cluster[1].log.count("Invalid digest") <= complaints, "the complaint is rate-limited"


def test_a_late_node_joins_and_a_leaver_is_not_missed_for_long(trio: Cluster) -> None:
    said_before = len(trio[1].log)
    assert trio[3].stop() == 0
    trio.wait_for_ring({1, 2})
    said = trio[1].log[said_before:]
    assert "Members left: 3" in said
    assert "Failed to receive the leave message" not in said, "a clean leave waits for no timeout"
    trio[3].start()
    trio.wait_for_ring({1, 2, 3})


@pytest.mark.skipif(os.geteuid() != 0, reason="adds IPv6 addresses in a network namespace of its own: needs root")
@pytest.mark.skipif(not (shutil.which("ip") and shutil.which("unshare")), reason="needs ip and unshare")
def test_a_ring_over_ipv6() -> None:
    probe = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    if probe.returncode != 0:
        pytest.skip("network namespaces are not allowed here")
    command = ["unshare", "--net", sys.executable, "-c", IPV6_PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 2, 3)"
