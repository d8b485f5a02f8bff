"""What a user types, and what comes back: exit codes, words, files."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kit.command import TOTEMCTL, TOTEMD, environment, run
from totemd.testing import Cluster, wait_until

BAD_CONFIGURATION = """\
totem {
    version: 2
    token: soon
    crypto_cipher: rot13
    transport: pigeon
}
nodelist {
    node {
        ring0_addr: 127.0.0.1
        nodeid: 0
    }
}
"""


def test_a_bad_file_shows_all_its_mistakes_with_their_places(tmp_path: Path) -> None:
    file = tmp_path / "corosync.conf"
    file.write_text(BAD_CONFIGURATION)
    done = run([*TOTEMD, "-t", "-c", str(file)])
    assert done.returncode == 2
    places = [line.split(" ")[0] for line in done.stderr.splitlines() if line.startswith(str(file))]
    assert places == [f"{file}:{line}:" for line in (3, 4, 5, 10)], done.stderr


def test_a_good_file_is_silent_success(tmp_path: Path, trio: Cluster) -> None:
    done = run([*TOTEMD, "-t", "-c", str(trio[1].configuration_path)])
    assert done.returncode == 0, done.stderr


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    done = run([*TOTEMD, "-c", str(tmp_path / "nowhere.conf"), "--run-dir", str(tmp_path / "run")])
    assert done.returncode == 2
    assert str(tmp_path / "nowhere.conf") in done.stderr


def test_version() -> None:
    done = run([*TOTEMD, "-v"])
    assert done.returncode == 0
    assert "0.1.0" in done.stdout


def test_usage_errors() -> None:
    assert run([*TOTEMD, "--frobnicate"]).returncode == 2
    assert run([*TOTEMCTL, "frobnicate"]).returncode == 2


def test_without_a_node_totemctl_fails_in_one_line(tmp_path: Path) -> None:
    done = run([*TOTEMCTL, "--run-dir", str(tmp_path), "status"])
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(tmp_path) in done.stderr


def test_a_second_node_in_the_same_run_directory_is_refused(trio: Cluster) -> None:
    done = run(trio[1].command)
    assert done.returncode == 18
    assert "already running" in done.stderr
    assert trio[1].is_running


def test_status_members_groups_apps_as_json(trio: Cluster) -> None:
    with trio[1].client() as client, client.join("seen by the tools"):
        status = json.loads(trio[1].control("--json", "status").stdout)
        groups = json.loads(trio[1].control("--json", "groups").stdout)
        members = json.loads(trio[1].control("--json", "members").stdout)
        apps = json.loads(trio[1].control("--json", "apps").stdout)
    assert status["node_id"] == 1
    assert status["state"] == "operational"
    assert status["members"] == [1, 2, 3]
    assert status["quorate"] is None
    assert status["ring_id"] == {
        "representative": trio[1].status().ring.representative,
        "sequence": trio[1].status().ring.sequence,
    }
    assert set(status["processes"]) == {"totem", "cpg", "sam"}
    for name, process in status["processes"].items():
        assert process["pid"] == trio[1].pid(name)
        assert process["state"] == "running"
        assert process["restarts"] >= 0
    assert {"name": "seen by the tools", "members": [{"node_id": 1, "pid": os.getpid()}]} in groups
    assert [node["node_id"] for node in members] == [1, 2, 3]
    assert apps == []


def test_metrics_are_prometheus_text(trio: Cluster) -> None:
    text = trio[1].control("metrics").stdout
    assert "# TYPE " in text
    for line in text.splitlines():
        assert line.startswith("#") or float(line.rsplit(" ", 1)[1]) >= 0


def test_shutdown_leaves_the_ring(trio: Cluster) -> None:
    assert trio[2].control("shutdown").returncode == 0
    wait_until(lambda: not trio[2].is_running, 30, "node 2 ends")
    trio.wait_for_ring({1, 3})
    trio[2].start()
    trio.wait_for_ring({1, 2, 3})


def test_keygen_writes_a_key_that_nobody_else_reads(tmp_path: Path) -> None:
    key = tmp_path / "authkey"
    assert run([*TOTEMCTL, "keygen", "-k", str(key)]).returncode == 0
    first = key.read_bytes()
    assert (len(first), stat.S_IMODE(key.stat().st_mode)) == (128, 0o400)
    refused = run([*TOTEMCTL, "keygen", "-k", str(key)])
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert key.read_bytes() == first
    assert run([*TOTEMCTL, "keygen", "--force", "-s", "2048", "-k", str(key)]).returncode == 0
    assert len(key.read_bytes()) == 256


def test_a_key_that_others_can_read_is_refused_with_the_cure() -> None:
    with Cluster(1, start=False) as cluster:
        cluster[1].key_path.chmod(0o644)
        done = run(cluster[1].command)
        assert done.returncode == 2
        assert f"chmod 400 {cluster[1].key_path}" in done.stderr or f"chmod 0400 {cluster[1].key_path}" in done.stderr


MAIN_FILE = Path("/etc/corosync/corosync.conf")


def without_rights() -> list[str]:
    """What to put before a command to run it as a user who is not root; read access to the interpreter is kept."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root needs setpriv(1) to become somebody else for one command")
    nobody = pwd.getpwnam("nobody")
    ids = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    prefix = ["setpriv", *ids, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    if run([*prefix, *TOTEMD, "-v"]).returncode != 0:
        pytest.skip("user nobody cannot run this Python interpreter")
    return prefix


def status_of(prefix: list[str], variables: Mapping[str, str]) -> dict[str, Any]:
    done = run([*prefix, *TOTEMCTL, "--json", "status"], env=variables)
    return json.loads(done.stdout) if done.returncode == 0 else {}


@pytest.mark.skipif(MAIN_FILE.exists(), reason=f"this machine has {MAIN_FILE}, which every user's node reads")
def test_a_user_without_rights_gets_a_node_without_any_file() -> None:
    prefix = without_rights()
    with tempfile.TemporaryDirectory(prefix="totemd-user-") as name:
        home = Path(name)
        if prefix:
            nobody = pwd.getpwnam("nobody")
            os.chown(home, nobody.pw_uid, nobody.pw_gid)
        variables = environment(XDG_RUNTIME_DIR=name, HOME=name)
        with subprocess.Popen([*prefix, *TOTEMD], env=variables, stderr=subprocess.PIPE, text=True, cwd="/") as node:
            try:
                status = wait_until(
                    lambda: (seen := status_of(prefix, variables)).get("state") == "operational" and seen,
                    60,
                    "a node of one's own",
                )
                assert len(status["members"]) == 1
                assert status["run_dir"] == str(home / "totemd")
                node.send_signal(signal.SIGTERM)
                _, words = node.communicate(timeout=60)
            finally:
                node.kill()
        assert node.returncode == 0
        assert "127.0.0.1" in words, "it says which defaults it used"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_signals_that_end_a_node_end_it_cleanly(number: signal.Signals) -> None:
    with Cluster(1) as cluster:
        os.kill(cluster[1].pid(), number)
        wait_until(lambda: not cluster[1].is_running, 15, f"the node ends on {number.name}")
        assert cluster[1].exit_code == 0
        assert cluster.leftovers() == []


def test_in_the_background(tmp_path: Path) -> None:
    with Cluster(1, start=False) as cluster:
        node = cluster[1]
        done = run([*node.command, "-d"])
        assert done.returncode == 0, done.stderr
        try:
            wait_until(lambda: node.stands() is not None, 60, "it answers")
        finally:
            node.control("shutdown")
        wait_until(lambda: cluster.leftovers() == [], 60, "it has ended")
