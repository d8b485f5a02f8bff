"""The executive as a process: start, restart, stop, reload, with children that misbehave."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from executivekit import FakeNode
from totemd.executive.runtime.child import ORPHAN_SECONDS
from totemd.ipc.blocking import BlockingConnection
from totemd.ipc.endpoints import BlockingEndpoint
from totemd.ipc.errors import AccessDenied
from totemd.ipc.messages.control import TO_TOTEMCTL, MembersRequest, ReloadRequest
from totemd.ipc.paths import EXECUTIVE_SOCKET, PID_FILE

LATE_SECONDS = 5.0
"""How late the kernel may be on a busy machine."""

GIVEN_UP = "restart intensity exceeded: 1 restarts in 30 s, and totem ended again"
"""How the last reason begins, when one restart in that time is all there is."""

QUICK = {"heartbeat_seconds": 0.1, "heartbeat_deadline_seconds": 1.0, "stop_seconds": 1.0}


def test_children_start_in_order_and_stop_in_reverse(node: FakeNode) -> None:
    node.start()
    assert node.events == [
        *("totem starts", "totem key 128 token 1650"),
        *("cpg starts", "cpg key 0 token 1650"),
        *("sam starts", "sam key 0 token 1650"),
    ]
    assert node.process is not None
    assert (node.run_dir / PID_FILE).read_text() == f"{node.process.pid}\n"
    assert stat.S_IMODE((node.run_dir / EXECUTIVE_SOCKET).stat().st_mode) == 0o600
    node.signal(signal.SIGTERM)
    assert node.exit_code() == 0
    assert node.events[-3:] == ["sam stops", "cpg stops", "totem stops"]
    assert "Node was shut down by a signal signal=SIGTERM" in node.log
    assert [path.name for path in node.run_dir.iterdir() if path.is_socket() or path.suffix == ".pid"] == []


def test_effective_values_and_notices_are_said_at_the_start(node: FakeNode) -> None:
    node.configure(extra="surprise {\n}\n")
    node.start()
    assert (
        "starting up node=1 cluster=fake transport=udpu cipher=aes256 token_ms=1650 consensus_ms=1980 "
        f"nodes='1=alpha,2=beta,3=127.0.0.3' files={node.configuration}"
    ) in node.log
    assert "warning [CFG   ]" in node.log
    assert "surprise" in node.log


def test_a_signal_to_every_process_still_stops_them_in_order(node: FakeNode) -> None:
    """A service manager that signals all processes, a terminal that does, an impatient user."""
    node.start()
    for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGINT):
        for pid in node.pids().values():
            os.kill(pid, number)
    node.signal(signal.SIGINT)
    node.signal(signal.SIGTERM)
    assert node.exit_code() == 0
    assert node.events[-3:] == ["sam stops", "cpg stops", "totem stops"]


def test_a_killed_child_comes_back_and_the_others_stay(node: FakeNode) -> None:
    node.start()
    before = node.pids()
    os.kill(before["cpg"], signal.SIGKILL)
    node.wait(lambda: node.status().processes["cpg"].restarts == 1, "cpg is started again")
    node.wait(lambda: node.states()["cpg"] == "running", "cpg runs")
    after = node.status().processes
    assert after["cpg"].last_exit == "signal 9 (SIGKILL)"
    assert after["cpg"].pid != before["cpg"]
    assert (after["totem"].pid, after["sam"].pid) == (before["totem"], before["sam"])
    assert "cpg ended unexpectedly (signal 9 (SIGKILL)); it is started again in 100 ms" in node.log


def test_a_child_that_hangs_is_killed_and_started_again(node: FakeNode) -> None:
    node.tree = {"spec": QUICK}
    node.mode("cpg", "hang")
    node.launch()
    node.wait(lambda: "cpg is killed: no heartbeat for 1 s" in node.log, "cpg is found hanging")
    node.mode("cpg", "")
    node.wait(lambda: node.states().get("cpg") == "running", "cpg runs")


def test_a_child_that_is_never_ready_is_killed_and_counts(node: FakeNode) -> None:
    node.tree = {"spec": {"ready_seconds": 2.0}, "restarts": 1}
    node.mode("totem", "never ready")
    node.launch()
    assert node.exit_code() == 15
    assert node.log.count("totem is killed: not ready 2 s after its start") == 2
    assert "restart intensity exceeded: 1 restarts in 30 s, and totem ended again" in node.log


def test_a_child_that_always_ends_stops_the_node_loudly(node: FakeNode) -> None:
    node.tree = {"restarts": 2}
    node.mode("cpg", "exit")
    node.launch()
    assert node.exit_code() == 15
    assert node.log.count("cpg ended unexpectedly (exit code 3)") == 3
    assert node.log.splitlines()[-1].startswith("totemd: restart intensity exceeded: 2 restarts in 30 s")
    assert "totem stops" in node.events


def test_a_fatal_child_stops_the_node_with_its_reason(node: FakeNode) -> None:
    node.mode("sam", "fatal")
    node.launch()
    assert node.exit_code() == 20
    assert node.log.splitlines()[-1] == "totemd: sam is of no use"
    assert node.events[-2:] == ["cpg stops", "totem stops"]
    assert node.events.count("sam starts") == 1


def test_a_child_that_does_not_stop_is_killed(node: FakeNode) -> None:
    node.tree = {"spec": {"stop_seconds": 0.5}}
    node.mode("cpg", "stubborn")
    node.start()
    node.signal(signal.SIGTERM)
    assert node.exit_code() == 0
    assert "cpg is killed: not stopped after 0.5 s" in node.log
    assert node.events[-1] == "totem stops"


def test_a_stop_during_the_start(node: FakeNode) -> None:
    node.mode("cpg", "never ready")
    node.launch()
    node.wait(lambda: node.states().get("cpg") == "starting" and "cpg starts" in node.events, "cpg starts")
    node.signal(signal.SIGTERM)
    assert node.exit_code() == 0
    assert node.events[-2:] == ["cpg stops", "totem stops"]


@pytest.mark.parametrize("mode", ["", "stubborn"])
def test_children_do_not_outlive_a_killed_executive(node: FakeNode, mode: str) -> None:
    for name in ("totem", "cpg", "sam"):
        node.mode(name, mode)
    node.start()
    children = {os.pidfd_open(pid) for pid in node.pids().values()}
    node.signal(signal.SIGKILL)
    deadline = time.monotonic() + ORPHAN_SECONDS + LATE_SECONDS
    while children:
        ended, _, _ = select.select(children, [], [], deadline - time.monotonic())
        assert ended, f"{len(children)} children live on"
        for pidfd in ended:
            children.remove(pidfd)
            os.close(pidfd)


def test_sighup_reloads_what_can_be_reloaded(node: FakeNode) -> None:
    node.start()
    node.configure(token=2000)
    node.signal(signal.SIGHUP)
    node.wait(lambda: node.events[-3:].count("sam token 2650") == 1, "sam has the new token")
    assert sorted(node.events[-3:]) == ["cpg token 2650", "sam token 2650", "totem token 2650"]
    assert node.status().token_ms == 2650
    assert "Config reload requested by node 1" in node.log
    assert "configuration changed: totem.token: 1000 -> 2000" in node.log


def test_a_typing_error_is_warned_about_at_a_reload_too(node: FakeNode) -> None:
    node.start()
    node.configure(token=2000, extra="totem {\n tokn: 5\n link_mode: active\n}\n")
    assert node.ask(ReloadRequest(1)).changed == ("totem.token: 1000 -> 2000",)
    node.wait(lambda: "configuration changed: totem.token" in node.log, "the reload is done")
    warnings = [line for line in node.log.splitlines() if "warning [CFG   ]" in line]
    assert any("unknown option 'tokn' in section 'totem'; did you mean 'token'?" in line for line in warnings)
    assert any("known but without effect yet: totem.link_mode" in line for line in warnings)
    assert "tokn: not set" not in node.log


def test_what_cannot_change_is_named_and_kept(node: FakeNode) -> None:
    node.start()
    node.configuration.write_text(node.configuration.read_text().replace("cluster_name: fake", "cluster_name: other"))
    node.signal(signal.SIGHUP)
    words = "Modified entry 'totem.cluster_name' in corosync.conf cannot be changed at run-time"
    node.wait(lambda: words in node.log, "it says so")
    assert node.status().cluster_name == "fake"


def test_a_bad_file_leaves_everything_as_it_was(node: FakeNode) -> None:
    node.start()
    node.configure(extra="totem {\n token: soon\n}\n")
    node.signal(signal.SIGHUP)
    node.wait(lambda: f"Unable to reload config file: {node.configuration}:" in node.log, "it says so")
    assert node.status().token_ms == 1650
    assert set(node.states().values()) == {"running"}


def test_a_restarted_child_gets_the_reloaded_configuration(node: FakeNode) -> None:
    node.start()
    node.configure(token=2000)
    node.signal(signal.SIGHUP)
    node.wait(lambda: "sam token 2650" in node.events, "the reload")
    os.kill(node.pids()["totem"], signal.SIGKILL)
    node.wait(lambda: "totem key 128 token 2650" in node.events, "totem starts with it")


def test_access_rules_of_a_reload_open_the_socket(node: FakeNode) -> None:
    node.start()
    node.configure(extra="uidgid {\n uid: 4711\n}\n")
    node.signal(signal.SIGHUP)
    socket_file = node.run_dir / EXECUTIVE_SOCKET
    node.wait(lambda: stat.S_IMODE(socket_file.stat().st_mode) == 0o666, "others may knock")
    assert stat.S_IMODE(node.run_dir.stat().st_mode) == 0o711


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_user_that_a_rule_names_may_look_but_not_stop() -> None:
    with tempfile.TemporaryDirectory(prefix="td-") as directory:
        Path(directory).chmod(0o711)
        node = FakeNode(Path(directory))
        try:
            node.configure(extra="uidgid {\n uid: 4711\n}\n")
            node.start()
            assert node.totemctl_as(4711, "status").returncode == 0
            for arguments in (["shutdown"], ["reload"], ["cmap", "set", "totem.token", "2000"]):
                refused = node.totemctl_as(4711, *arguments)
                assert refused.returncode == 1
                assert "may look, but only root and the node's owner may change it" in refused.stderr
            stranger = node.totemctl_as(4712, "status")
            assert stranger.returncode == 1
            assert "`uidgid { uid: 4712 }`" in stranger.stderr
            assert "Denied connection attempt from 4712:4712" in node.log
        finally:
            node.close()


def test_status_is_answered_while_the_ring_process_is_away(node: FakeNode) -> None:
    node.start()
    node.mode("totem", "never ready")
    os.kill(node.pids()["totem"], signal.SIGKILL)
    node.wait(lambda: node.states().get("totem") == "starting", "totem starts again")
    status = node.status()
    assert (status.state, status.ring, status.members) == ("down", None, ())
    assert status.cipher == "aes256"
    assert [each.state for each in node.ask(MembersRequest()).nodes] == ["unknown"] * 3


def test_a_second_executive_is_refused(node: FakeNode) -> None:
    node.start()
    done = node.run()
    assert done.returncode == 18
    assert "Another totemd instance is already running." in done.stderr
    assert set(node.states().values()) == {"running"}


def test_a_pid_file_left_behind_does_not_matter(node: FakeNode) -> None:
    (node.run_dir / PID_FILE).write_text("1\n")
    node.start()


def test_state_dump(node: FakeNode) -> None:
    node.start()
    node.signal(signal.SIGUSR2)
    node.wait(lambda: "state dump: requests" in node.log, "the dump")
    assert "state dump: totem" in node.log


def test_nobody_passes_for_a_child(running_node: FakeNode) -> None:
    stranger: BlockingConnection[object] = BlockingConnection(
        running_node.run_dir / EXECUTIVE_SOCKET, "totem", TO_TOTEMCTL, service="totemd"
    )
    with pytest.raises(AccessDenied, match=rf"pid {os.getpid()} is not it"):
        stranger.open(30)


def test_garbage_does_not_disturb(running_node: FakeNode) -> None:
    endpoint = BlockingEndpoint(running_node.run_dir / EXECUTIVE_SOCKET)
    for _ in range(200):
        endpoint.send([os.urandom(50), os.urandom(5)])
        endpoint.send([b""])
    endpoint.wait(10)
    endpoint.close()
    assert set(running_node.states().values()) == {"running"}


def test_the_service_manager_is_told_when_all_serve(node: FakeNode) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(node.run_dir / "notify"))
        manager.settimeout(30)
        node.environment = {"NOTIFY_SOCKET": str(node.run_dir / "notify"), "WATCHDOG_USEC": "400000"}
        node.mode("sam", "never ready")
        node.launch()
        node.wait(lambda: "sam starts" in node.events, "the last one starts")
        node.signal(signal.SIGHUP)  # a reload is no sign of readiness
        node.wait(lambda: "Config reload requested" in node.log, "the reload")
        node.mode("sam", "takes its time")
        os.kill(node.pids()["sam"], signal.SIGKILL)
        said: list[str] = []
        while not said or not said[-1].startswith("READY=1"):
            said.append(manager.recv(1000).decode())
        assert set(said[:-1]) <= {"WATCHDOG=1"}
        assert said[-1] == "READY=1\nSTATUS=node 1 (alpha) of 3"
        assert "sam key 0 token 1650" in node.events
        node.signal(signal.SIGTERM)
        while not said[-1].startswith("STOPPING=1"):
            said.append(manager.recv(1000).decode())
        while not said[-1].startswith("EXTEND_TIMEOUT_USEC="):
            said.append(manager.recv(1000).decode())
    assert node.exit_code() == 0


def test_in_the_background_the_command_returns_when_all_serve(node: FakeNode) -> None:
    done = node.run("-d")
    assert (done.returncode, done.stderr) == (0, "")
    pid = int((node.run_dir / PID_FILE).read_text())
    executive = psutil.Process(pid)
    try:
        assert set(node.states().values()) == {"running"}
        assert os.getsid(pid) != os.getsid(0)
        assert executive.cwd() == "/"
        executive.send_signal(signal.SIGHUP)
        executive.terminate()
        gone, _ = psutil.wait_procs([executive], timeout=30)
        assert gone == [executive]
    finally:
        if executive.is_running():
            executive.kill()


@pytest.mark.parametrize(
    ("mode", "code", "reason"),
    [
        ("fatal", 20, "totem is of no use"),
        ("exit", 15, f"{GIVEN_UP} (exit code 3)"),
        ("refuse", 15, f"{GIVEN_UP} (exit code 1: cannot bind)"),
        ("bug", 15, f"{GIVEN_UP} (exit code 1: a bug: KeyError('a bug'))"),
    ],
)
def test_in_the_background_the_command_says_why_not(node: FakeNode, mode: str, code: int, reason: str) -> None:
    """Also where nothing else says it: standard error is gone, and nothing else is logged to."""
    node.tree = {"restarts": 1}
    node.mode("totem", mode)
    done = node.run("-d")
    assert (done.returncode, done.stderr) == (code, f"totemd: {reason}\n")
