"""The flight recorder of real nodes: dumped on request, on a crash and after a kill; replayed without a node."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.command import TOTEMCTL, run
from totemd.testing import Cluster, Node, wait_until

BROKEN_PAUSE = """
import sys
if "totemd.executive.totem" in sys.orig_argv:
    from totemd.executive.totem.core.ring import Ring
    def pause_detected(self, now):
        assert False, "provoked by a test"
    Ring.pause_detected = pause_detected
"""
"""As sitecustomize.py, gives the totem process a bug: it fails when it notices that it was paused."""


def dumps(node: Node) -> list[Path]:
    directory = node.state_dir / "blackbox"
    return sorted(directory.iterdir()) if directory.exists() else []


def shown(file: Path) -> dict[str, Any]:
    done = run([*TOTEMCTL, "--json", "blackbox", "show", str(file)], timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def replayed(file: Path) -> dict[str, Any]:
    done = run([*TOTEMCTL, "blackbox", "replay", "--json", str(file)], timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_dumped_on_request_and_replayed_offline(trio: Cluster, tmp_path: Path) -> None:
    with trio[1].client() as client, client.join("recorded") as group:
        group.mcast(b"nobody else's business" * 100)
        group.receive(60)
    file = tmp_path / "dump"
    done = trio[1].control("--json", "blackbox", "dump", "-o", str(file), timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == str(file)
    kept = dumps(trio[1])[-1]
    for path in (file, kept):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert file.read_bytes() == kept.read_bytes()
    assert b"nobody else" not in file.read_bytes()

    facts = shown(file)
    assert (facts["node_id"], facts["same_core"], facts["pid"]) == (1, True, trio[1].pid("totem"))
    assert facts["reason"] == "asked for by totemctl blackbox dump"
    assert facts["packets"] > 0 and facts["submissions"] > 0 and facts["timers"] > 0

    result = replayed(file)
    assert result["different"] == 0 and result["replayed"] > 10
    installs = [each for each in result["inputs"] if any("regular configuration" in e["text"] for e in each["effects"])]
    assert installs[-1]["after"]["members"] == [1, 2, 3]
    last = run([*TOTEMCTL, "blackbox", "replay", str(file), "--last", "3"], timeout=120)
    assert last.returncode == 0
    assert sum(line.startswith("20") for line in last.stdout.splitlines()) == 3
    assert last.stdout.splitlines()[-1].endswith("same effects as recorded")
    recent = run([*TOTEMCTL, "blackbox", "replay", str(file), "--since", "0ms"], timeout=120)
    assert sum(line.startswith("20") for line in recent.stdout.splitlines()) >= 1


def test_what_cannot_be_replayed_is_said_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "none"
    missing = run([*TOTEMCTL, "blackbox", "show", str(file)], timeout=120)
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    file.write_bytes(b"TOTEMDBB\x02\x00\x00\x00" + bytes(8))
    foreign = run([*TOTEMCTL, "blackbox", "replay", str(file)])
    assert foreign.returncode == 1
    assert foreign.stderr == f"totemctl: {file}: the recording has format 2; this totemctl reads format 1\n"
    assert run([*TOTEMCTL, "blackbox", "replay", str(file), "--last", "0"]).returncode == 2


def test_dumped_by_signals(trio: Cluster) -> None:
    before = len(dumps(trio[2]))
    os.kill(trio[2].pid("totem"), signal.SIGUSR1)
    wait_until(lambda: len(dumps(trio[2])) == before + 1, 60, "SIGUSR1 at the totem process")
    os.kill(trio[2].pid(), signal.SIGUSR2)
    wait_until(lambda: len(dumps(trio[2])) == before + 2, 60, "SIGUSR2 at the executive")
    assert [shown(path)["reason"] for path in dumps(trio[2])[-2:]] == [
        "asked for by SIGUSR1",
        "asked for by totemctl blackbox dump",
    ]


def test_a_killed_process_leaves_its_recording(trio: Cluster) -> None:
    before = len(dumps(trio[3]))
    pid = trio[3].kill_process("totem")
    wait_until(lambda: len(dumps(trio[3])) > before, 60, "its successor finds it")
    found = dumps(trio[3])[-1]
    assert shown(found)["reason"].startswith(f"the process (pid {pid}) ended without a word")
    assert replayed(found)["different"] == 0
    trio.wait_for_ring({1, 2, 3})


PAUSE_SECONDS = 1.0
"""A token timeout: twice what the process takes for a pause, and less than the executive waits for a sign of it."""


def operational_without(node: Node, pid: int) -> bool:
    """Whether the ring stands, in another totem process than *pid*."""
    standing = node.stands()
    return standing is not None and standing.state == "operational" and node.status().processes["totem"].pid != pid


@pytest.fixture
def buggy(tmp_path: Path) -> Iterator[Cluster]:
    """One node whose totem process fails when it was paused."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN_PAUSE)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    with Cluster(1, environment={"PYTHONPATH": path}, options={"logging.blackbox_dumps": 1}, token=1000) as cluster:
        yield cluster


def fail(node: Node) -> None:
    """Pause the totem process for as long as it notices itself, and wait for its successor."""
    pid = node.pid("totem")
    os.kill(pid, signal.SIGSTOP)
    time.sleep(PAUSE_SECONDS)
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: operational_without(node, pid), 60, "it fails, and another one is there")


def test_a_crash_is_dumped_with_what_led_to_it(buggy: Cluster) -> None:
    fail(buggy[1])
    (first,) = dumps(buggy[1])
    assert "AssertionError: provoked by a test" in shown(first)["reason"]
    last = replayed(first)["inputs"][-1]
    assert last["given"] == "pause_detected()"
    assert "the process ended here" in last["note"]
    fail(buggy[1])
    (second,) = dumps(buggy[1])
    assert second.name > first.name, "as many are kept as the file says, and the oldest go"
