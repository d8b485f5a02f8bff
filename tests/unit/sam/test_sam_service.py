"""The sam process: real sam-runs register with a real one, which lists them and looks at their applications."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from samkit import HERE, PATIENCE_SECONDS, STAMP, Workshop, let_pass, runs
from totemd import sam
from totemd.executive.config.model import AccessRules, Configuration
from totemd.executive.runtime.child import ChildContext
from totemd.ipc.blocking import BlockingConnection
from totemd.ipc.channel import Arrived
from totemd.ipc.endpoints import Credentials
from totemd.ipc.errors import AccessDenied, ConnectionLost, InvalidArgument, NotFound
from totemd.ipc.messages.common import Hello
from totemd.ipc.messages.control import (
    AppsAnswer,
    AppsQuestion,
    MetricsAnswer,
    MetricsQuestion,
    RingQuestion,
)
from totemd.ipc.messages.sam import (
    FROM_SAM,
    AppState,
    Ended,
    Progress,
    Recover,
    Register,
    Registered,
)
from totemd.ipc.paths import SAM_SOCKET
from totemd.sam.service import WATCH_SECONDS, WATCH_SHARE_MAX, SamProcess, watch_pause
from totemd.testing import wait_until

STAY = f"{STAMP}; exec sleep 1000"


class Node:
    """As much of a node as sam-run can see: a sam process and a run directory."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self._process: subprocess.Popen[bytes] | None = None

    def start_sam(self) -> None:
        """Start a sam process, and wait until it serves."""
        command = [sys.executable, str(HERE / "sam_process.py"), str(self.workshop.directory)]
        self._process = subprocess.Popen(command)
        wait_until(self._serves, PATIENCE_SECONDS, "the sam process serves")

    def end_sam(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def apps(self) -> dict[str, sam.AppInfo]:
        """What it lists, by name."""
        return {each.name: each for each in sam.apps(self.workshop.directory)}

    def until_listed(self, name: str, **expected: Any) -> sam.AppInfo:
        """Wait until an application is listed with these values."""

        def find() -> sam.AppInfo | None:
            app = self.apps().get(name)
            return app if app and all(getattr(app, key) == value for key, value in expected.items()) else None

        found = wait_until(find, PATIENCE_SECONDS, lambda: f"{name} {expected}: {self.apps()} {self.workshop.errors}")
        assert found is not None
        return found

    def connect(self, role: str = "sam-run") -> BlockingConnection[Any]:
        """A connection of the test's own."""
        path = self.workshop.directory / SAM_SOCKET
        connection: BlockingConnection[Any] = BlockingConnection(path, role, FROM_SAM, service="the sam process")
        connection.open(PATIENCE_SECONDS)
        return connection

    def _serves(self) -> bool:
        try:
            sam.apps(self.workshop.directory, timeout=1)
        except (ConnectionLost, TimeoutError):
            return False
        return True


@pytest.fixture
def node(workshop: Workshop) -> Iterator[Node]:
    made = Node(workshop)
    yield made
    made.end_sam()


@pytest.fixture
def served(node: Node) -> Node:
    node.start_sam()
    return node


def registration(name: str, pid: int = 0, *, exact: bool = True, interval_ms: int = 200) -> Register:
    state = AppState.RUNNING if pid else AppState.BACKOFF
    return Register(1, name, exact, "restart", interval_ms, Progress(state, 1, pid))


# -- sam-run and the sam process


def test_an_application_is_listed_through_its_life(served: Node, workshop: Workshop) -> None:
    process = workshop.shell(STAY, "--name", "web", "--require-sam")
    pid = workshop.started(1).pid
    app = served.until_listed("web", state="running")
    assert (app.pid, app.node_id, app.instance, app.policy) == (pid, 7, 1, "restart")
    os.kill(pid, signal.SIGKILL)
    assert served.until_listed("web", state="running", instance=2).pid == workshop.started(2).pid
    process.terminate()
    assert workshop.finish(process) == 143
    assert served.apps() == {}


def test_a_name_that_is_taken_is_refused_before_anything_starts(served: Node, workshop: Workshop) -> None:
    workshop.shell(STAY, "--name", "web")
    served.until_listed("web")
    other = workshop.sam_run("--name", "web", "--", "sh", "-c", "echo 2 $$ >> other")
    assert workshop.finish(other) == 125
    assert "an application named 'web' is supervised here already" in workshop.errors
    assert workshop.stamps("other") == []


def test_applications_without_a_name_do_not_clash(served: Node, workshop: Workshop) -> None:
    pids = [workshop.shell(STAY).pid for _ in range(2)]
    for pid in pids:
        served.until_listed(f"sh-{pid}", state="running")


def test_sam_run_registers_when_the_sam_process_appears(node: Node, workshop: Workshop) -> None:
    workshop.shell(STAY, "--name", "web")
    pid = workshop.started(1).pid
    node.start_sam()
    assert node.until_listed("web", state="running").pid == pid
    wait_until(lambda: "registered with the sam process, as web" in workshop.errors, PATIENCE_SECONDS, "said")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_applications_outlive_the_sam_process(served: Node, workshop: Workshop, end: int) -> None:
    workshop.shell(STAY, "--name", "web")
    first = workshop.started(1).pid
    served.until_listed("web", pid=first)
    served.end_sam(end)
    os.kill(first, signal.SIGKILL)
    second = workshop.started(2).pid
    served.start_sam()
    served.until_listed("web", state="running", pid=second, instance=2)
    assert "the sam process is gone; supervising alone" in workshop.errors


def test_a_name_that_was_taken_meanwhile_does_not_end_an_application(node: Node, workshop: Workshop) -> None:
    process = workshop.shell(STAY, "--name", "web")
    workshop.started(1)
    node.start_sam()
    node.until_listed("web")
    other = workshop.sam_run("--name", "other", "--", "sleep", "1000")
    node.until_listed("other")
    node.end_sam()
    for each in (process, other):
        each.send_signal(signal.SIGSTOP)
    node.start_sam()
    with_name = node.connect()
    with_name.request(registration("web"), timeout=PATIENCE_SECONDS)
    for each in (process, other):
        each.send_signal(signal.SIGCONT)
    node.until_listed(f"web-{process.pid}", state="running")
    with_name.close()


def test_who_is_given_up_stays_listed(served: Node, workshop: Workshop) -> None:
    process = workshop.shell("exit 1", "--name", "web", "--max-restarts", "1", "--backoff", "0")
    assert workshop.finish(process) == 124
    served.until_listed("web", state="fatal", pid=0, instance=2)


def test_an_application_whose_sam_run_is_killed_is_not_forgotten(served: Node, workshop: Workshop) -> None:
    process = workshop.shell(STAY, "--name", "web")
    pid = workshop.started(1).pid
    served.until_listed("web", pid=pid)
    process.kill()
    served.until_listed("web", state="orphaned", pid=pid)
    assert runs(pid)
    assert workshop.finish(workshop.shell(STAY, "--name", "web")) == 125
    assert "though its sam-run was killed: end it first" in workshop.errors
    os.kill(pid, signal.SIGKILL)
    served.until_listed("web", state="lost", pid=0)
    workshop.shell(STAY, "--name", "web")
    served.until_listed("web", state="running")


def test_a_job_that_is_stopped_as_a_whole_is_left_alone(served: Node, workshop: Workshop) -> None:
    process = workshop.shell(STAY, "--name", "web", "--interval", "100")
    pid = workshop.started(1).pid
    served.until_listed("web", state="running")
    process.send_signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGSTOP)
    served.until_listed("web", state="suspended", pid=pid)
    let_pass(4 * WATCH_SECONDS)
    os.kill(pid, signal.SIGCONT)
    process.send_signal(signal.SIGCONT)
    served.until_listed("web", state="running", pid=pid)


def test_the_application_inherits_nothing_of_sam_run(served: Node, workshop: Workshop) -> None:
    process = workshop.shell("exec ls /proc/self/fd", "--policy", "quit", "--require-sam")
    plain = subprocess.run(["ls", "/proc/self/fd"], capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
    assert process.communicate(timeout=PATIENCE_SECONDS)[0] == plain


# -- limits


THREADS = "import threading, time\nfor _ in range(5): threading.Thread(target=time.sleep, args=(1000,)).start()"
HOGS = {
    "--max-rss": ("60M", "x = bytearray(100_000_000)", "memory"),
    "--max-cpu": ("5%", "while True: pass", "processor time"),  # what it gets on a busy machine is more than that
    "--max-threads": ("3", THREADS, "threads"),
    "--max-files": ("40", "files = [open('/dev/null') for _ in range(60)]", "open files"),
}


@pytest.mark.parametrize("option", HOGS)
def test_a_hog_is_followed_by_the_next_instance(served: Node, workshop: Workshop, option: str) -> None:
    """The hog is a grandchild: all processes of an application count."""
    limit, program, what = HOGS[option]
    (workshop.directory / "hog.py").write_text(f"{program}\nimport signal; signal.pause()\n")
    script = f'{STAMP}; if [ "$TOTEMD_SAM_INSTANCE" = 1 ]; then {sys.executable} -S hog.py & fi; wait; exec sleep 1000'
    workshop.shell(script, "--name", "hog", "--require-sam", option, limit, "--limit-window", "1")
    assert workshop.started(2).instance == 2
    assert f"failed: over its limit, {what}" in workshop.errors
    let_pass(2)
    assert len(workshop.stamps()) == 2


# -- what a sam-run that is none of ours may say


def test_a_stopped_application_is_noticed_from_outside(served: Node, children: list[subprocess.Popen[bytes]]) -> None:
    children.append(subprocess.Popen(["sleep", "1000"]))
    connection = served.connect()
    reply = connection.request(registration("mine", children[0].pid), timeout=PATIENCE_SECONDS)
    assert reply == Registered(reply.request, "mine")
    children[0].send_signal(signal.SIGSTOP)
    orders: list[Recover] = []

    def ordered() -> bool:
        orders.extend(
            each.message
            for each in connection.pump(0.1)
            if isinstance(each, Arrived) and isinstance(each.message, Recover)
        )
        return bool(orders)

    wait_until(ordered, PATIENCE_SECONDS, "the order to recover")
    assert orders[0].instance == 1 and "stopped for 0.2 s" in orders[0].why
    connection.close()


def test_only_a_child_of_its_own_is_a_sam_runs_application(served: Node) -> None:
    """Who claims somebody else's process gets it listed, but not watched."""
    connection = served.connect()
    connection.request(registration("claimed", 1), timeout=PATIENCE_SECONDS)
    connection.close()
    served.until_listed("claimed", state="lost", pid=0)


@pytest.mark.parametrize(
    ("role", "said", "problem"),
    [
        ("client", [registration("web")], "not one with 'client'"),
        ("sam-run", [Ended(1, Progress(AppState.STOPPED, 1, 0))], "`sam.register` comes first"),
        ("sam-run", [registration("one"), registration("two")], "it can register one"),
    ],
)
def test_the_order_of_messages_is_enforced(served: Node, role: str, said: list[Any], problem: str) -> None:
    connection = served.connect(role)
    for message in said[:-1]:
        connection.request(message, timeout=PATIENCE_SECONDS)
    with pytest.raises(InvalidArgument, match=problem):
        connection.request(said[-1], timeout=PATIENCE_SECONDS)
    connection.close()


def test_bytes_that_are_no_message_disturb_nobody(served: Node) -> None:
    noisy = served.connect()
    for frames in ([b""], [b"\xff" * 100], [b"\x81\xa4type\xacsam.register"], [os.urandom(1000)]):
        noisy.send_encoded(frames)
    assert noisy.request(registration("after"), timeout=PATIENCE_SECONDS).name == "after"
    noisy.close()


# -- inside one process


def with_process(body: Callable[[SamProcess], None], workshop: Workshop, configuration: Configuration) -> None:
    async def live() -> None:
        process = SamProcess(ChildContext("sam", workshop.directory, configuration))
        await process.start()
        body(process)
        await process.stop()

    asyncio.run(live())
    assert not (workshop.directory / SAM_SOCKET).exists()


def test_questions_of_the_executive(workshop: Workshop) -> None:
    def ask(process: SamProcess) -> None:
        assert process.answer(AppsQuestion(5)) == AppsAnswer(5, ())
        answer = process.answer(MetricsQuestion(6))
        assert isinstance(answer, MetricsAnswer) and answer.request == 6
        names = {metric.name for metric in answer.metrics}
        assert {"totemd_sam_applications", "totemd_sam_restarts_total", "totemd_sam_orphans_total"} <= names
        with pytest.raises(NotFound, match="applications only"):
            process.answer(RingQuestion(7))

    with_process(ask, workshop, Configuration())


def test_the_uidgid_rules_decide_who_may_connect(workshop: Workshop) -> None:
    hello, stranger = Hello("sam-run"), Credentials(uid=54321, gid=54321, pid=1)

    def knock(process: SamProcess) -> None:
        process.admit(hello, Credentials(0, 0, 1))
        process.admit(hello, Credentials(os.geteuid(), 5, 1))
        with pytest.raises(AccessDenied, match="54321"):
            process.admit(hello, stranger)
        process.reconfigure(Configuration(access=AccessRules(uids=(54321,))))
        process.admit(hello, stranger)

    with_process(knock, workshop, Configuration())


def test_looking_costs_a_bounded_share_of_a_processor() -> None:
    assert watch_pause(0) == WATCH_SECONDS
    for took in (0.001, 0.1, 2.0):
        assert took / (took + watch_pause(took)) <= WATCH_SHARE_MAX * 1.001


# -- the client's face


def test_an_application_learns_who_it_is() -> None:
    variables = {"TOTEMD_SAM_NAME": "web", "TOTEMD_SAM_INSTANCE": "3"}
    assert (sam.name(variables), sam.instance(variables), sam.is_supervised(variables)) == ("web", 3, True)
    for other in ({}, {"TOTEMD_SAM_INSTANCE": "none"}):
        assert (sam.name(other), sam.instance(other), sam.is_supervised(other)) == (None, 0, False)


def test_the_client_sees_it_in_its_own_environment(workshop: Workshop) -> None:
    program = "from totemd import sam; print(sam.name(), sam.instance(), sam.is_supervised())"
    process = workshop.sam_run("--name", "web", "--policy", "quit", "--", sys.executable, "-c", program)
    assert process.communicate(timeout=PATIENCE_SECONDS)[0].decode().split() == ["web", "1", "True"]


def test_asking_where_nobody_serves() -> None:
    with pytest.raises(ConnectionLost, match="the sam process"):
        sam.apps(Path("/tmp/no-such-run-directory"))


def test_the_public_names() -> None:
    assert all(hasattr(sam, name) for name in sam.__all__)
