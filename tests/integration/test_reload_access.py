"""`uidgid` rules that a reload brings or takes away, seen by that user's own processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from totemd.testing import Cluster, Node, wait_until

STRANGER = 4711

CLIENT = """
import os, sys
from totemd import Client, sam
import totemd.sam.client  # the interpreter may lie where that user could not read it
uid = int(sys.argv[2])
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
try:
    with Client(run_dir=sys.argv[1]) as client:
        client.join("g")
    sam.apps(sys.argv[1])
    print("let in")
except Exception as error:
    print(type(error).__name__)
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def verdict(node: Node) -> str:
    """What a process of the stranger's gets to hear."""
    command = [sys.executable, "-c", CLIENT, str(node.run_dir), str(STRANGER)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() or done.stderr


def test_a_reload_lets_a_user_in_and_shuts_him_out_again() -> None:
    with Cluster(1) as cluster:
        node = cluster[1]
        for directory in (cluster.directory, node.run_dir.parent):
            directory.chmod(0o711)
        without = node.configuration_path.read_text()
        assert verdict(node) == "AccessDenied"
        assert "Denied connection" not in node.log, "the run directory hides the sockets"

        node.write_configuration(f"{without}\nuidgid {{\n  uid: {STRANGER}\n}}\n")
        node.reload()
        wait_until(lambda: verdict(node) == "let in", 20, lambda: f"the stranger is let in, not {verdict(node)}")

        node.write_configuration(without)
        assert node.control("reload").returncode == 0
        wait_until(lambda: verdict(node) == "AccessDenied", 20, lambda: f"the stranger is shut out: {verdict(node)}")
        assert f"Denied connection attempt from {STRANGER}:{STRANGER}" in node.log
