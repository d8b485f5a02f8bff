"""Readiness and health checks, with real sam-runs and real applications; the drivers of checks besides."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samkit import PATIENCE_SECONDS, STAMP, Workshop, let_pass
from totemd.sam import checks
from totemd.sam.health import Check, Kind
from totemd.sam.notify import EXTEND_SECONDS_MAX, STATUS_LENGTH_MAX, Notice, parse
from totemd.testing import wait_until

QUICK = ("--health-interval", "100", "--health-timeout", "5000", "--health-start-period", "0", "--health-failures", "2")
STATES = ("--on", "any=echo $TOTEMD_SAM_STATE >> states")


def states(workshop: Workshop) -> list[str]:
    path = workshop.directory / "states"
    return path.read_text().split() if path.exists() else []


def until_state(workshop: Workshop, *expected: str) -> None:
    wait_until(
        lambda: states(workshop)[: len(expected)] == [*expected],
        PATIENCE_SECONDS,
        lambda: f"{states(workshop)} {workshop.errors}",
    )


def python(workshop: Workshop, program: str, *options: str) -> subprocess.Popen[bytes]:
    """A sam-run whose application is a Python program, with `notify` and `stamp` to call."""
    helpers = """
    import os, signal, socket, sys, time
    def notify(text, socket=socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)):
        socket.sendto(text.encode(), os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
    def stamp(name="stamps"):
        print(os.environ["TOTEMD_SAM_INSTANCE"], os.getpid(), file=open(name, "a", 1))
    """
    text = textwrap.dedent(helpers) + textwrap.dedent(program)
    return workshop.sam_run(*options, "--", sys.executable, "-S", "-c", text)


# -- readiness


def test_ready_by_sd_notify(workshop: Workshop) -> None:
    program = """
    stamp()
    notify("STATUS=opening the shop")
    while not os.path.exists("go"):
        time.sleep(0.02)
    notify("READY=1\\nSTATUS=open")
    notify("READY=1")
    stamp("again")
    signal.pause()
    """
    python(workshop, program, "--ready", "notify", *STATES)
    workshop.started(1)
    until_state(workshop, "starting", "unready")
    let_pass(0.3)
    assert states(workshop) == ["starting", "unready"]
    (workshop.directory / "go").touch()
    until_state(workshop, "starting", "unready", "running")
    workshop.until_stamps("again")
    let_pass(0.2)
    assert workshop.errors.count("instance 1 is ready") == 1


@pytest.mark.parametrize(("option", "number"), [("fd", 3), ("fd:5", 5)])
@pytest.mark.parametrize("more", [(), ("--nice", "5")])
def test_ready_by_a_line_on_a_descriptor(workshop: Workshop, option: str, number: int, more: tuple[str, ...]) -> None:
    script = f"{STAMP}; printf x >&{number}; while [ ! -e go ]; do sleep 0.02; done; echo >&{number}; exec sleep 1000"
    workshop.shell(script, "--ready", option, *STATES, *more)
    workshop.started(1)
    until_state(workshop, "starting", "unready")
    (workshop.directory / "go").touch()
    until_state(workshop, "starting", "unready", "running")


def test_ready_when_the_health_checks_succeed(workshop: Workshop) -> None:
    workshop.shell(f"{STAMP}; exec sleep 1000", "--ready", "probe", "--health", "exec:test -e well", *STATES)
    until_state(workshop, "starting", "unready")
    let_pass(0.4)
    assert states(workshop) == ["starting", "unready"]
    (workshop.directory / "well").touch()
    until_state(workshop, "starting", "unready", "running")


def test_each_instance_has_to_become_ready_in_time(workshop: Workshop) -> None:
    script = f'{STAMP}; [ "$TOTEMD_SAM_INSTANCE" = 2 ] && echo >&3; exec sleep 1000'
    process = workshop.shell(script, "--ready", "fd", "--ready-timeout", "300", "--backoff", "1", *STATES)
    workshop.started(2)
    until_state(workshop, "starting", "unready", "warned")
    wait_until(lambda: states(workshop)[-1] == "running", PATIENCE_SECONDS, lambda: f"{states(workshop)}")
    assert "it has not become ready in time (0.3 s)" in workshop.errors
    let_pass(0.5)
    assert len(workshop.stamps()) == 2 and process.poll() is None


def test_an_application_may_ask_for_more_time(workshop: Workshop) -> None:
    program = 'notify("EXTEND_TIMEOUT_USEC=60000000"); stamp(); time.sleep(0.6); notify("READY=1"); signal.pause()'
    python(workshop, program, "--ready", "notify", "--ready-timeout", "500", *STATES)
    until_state(workshop, "starting", "unready", "running")


def test_strangers_cannot_speak_for_an_application(workshop: Workshop) -> None:
    program = "print(os.environ['NOTIFY_SOCKET'], file=open('address', 'w')); stamp(); signal.pause()"
    python(workshop, program, "--ready", "notify", *STATES)
    workshop.started(1)
    address = (workshop.directory / "address").read_text().strip().replace("@", "\0", 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        for text in (b"READY=1", b"WATCHDOG=trigger", b"\xff" * 1000, b""):
            stranger.sendto(text, address)
    let_pass(0.3)
    assert states(workshop) == ["starting", "unready"] and len(workshop.stamps()) == 1


def test_children_of_the_application_speak_for_it(workshop: Workshop) -> None:
    program = 'pid = os.fork()\nif not pid:\n    notify("READY=1")\n    os._exit(0)\nsignal.pause()'
    python(workshop, program, "--ready", "notify", *STATES)
    until_state(workshop, "starting", "unready", "running")


def test_without_readiness_nothing_of_another_supervisor_is_touched(workshop: Workshop) -> None:
    variables = {**os.environ, "NOTIFY_SOCKET": "/run/outer", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "77"}
    process = workshop.shell('echo "$NOTIFY_SOCKET $WATCHDOG_USEC $WATCHDOG_PID"', "--policy", "quit", env=variables)
    assert process.communicate(timeout=PATIENCE_SECONDS)[0] == b"/run/outer  \n"


# -- health


def test_a_command_that_fails_is_followed_by_the_next_instance(workshop: Workshop) -> None:
    workshop.shell(f"{STAMP}; exec sleep 1000", *QUICK, "--health", "exec:echo nope; exit $(cat sick 2>/dev/null)")
    workshop.started(1)
    let_pass(0.4)
    assert len(workshop.stamps()) == 1
    (workshop.directory / "sick").write_text("3")
    workshop.started(2)
    (workshop.directory / "sick").unlink()
    assert "failed 2 times in a row: it exited with code 3 (nope)" in workshop.errors


def test_a_check_that_hangs_is_killed_with_its_children(workshop: Workshop) -> None:
    check = "exec:sleep 1000 & echo 1 $! >> sleepers; wait"
    options = ("--health-interval", "100", "--health-timeout", "300", "--health-start-period", "0")
    workshop.shell(f"{STAMP}; exec sleep 1000", *options, "--health-failures", "1", "--health", check)
    workshop.started(2)
    assert "no answer within 0.3 s" in workshop.errors
    workshop.until_gone([workshop.stamps("sleepers")[0].pid])


def test_heartbeats_by_sd_notify(workshop: Workshop) -> None:
    program = """
    stamp()
    beats = int(os.environ["WATCHDOG_USEC"]) / 4_000_000
    while not os.path.exists("hang" + os.environ["TOTEMD_SAM_INSTANCE"]):
        notify("WATCHDOG=1")
        stamp("beats")
        time.sleep(beats)
    while True:  # busy, and well as far as the kernel is concerned
        pass
    """
    options = ("--health", "heartbeat", "--health-interval", "1000", "--health-failures", "1", "--interval", "200")
    python(workshop, program, *options, "--health-start-period", "0")
    workshop.until_stamps("beats", 8)
    assert len(workshop.stamps()) == 1
    (workshop.directory / "hang1").touch()
    workshop.started(2)
    assert "health check heartbeat failed: none for 1 s" in workshop.errors


def test_heartbeats_by_the_client_library(workshop: Workshop) -> None:
    program = """
    import os, time
    from totemd import sam
    print(sam.instance(), os.getpid(), file=open("stamps", "a", 1))
    with sam.supervised(interval=60.0) as app:
        while not os.path.exists("hang" + str(sam.instance())):
            app.health_check()
            print(1, 1, file=open("beats", "a", 1))
            time.sleep(0.2)
        time.sleep(1000)
    """
    options = ("--health", "heartbeat", "--health-interval", "1500", "--health-failures", "1", "--interval", "300")
    workshop.sam_run(*options, "--", sys.executable, "-c", textwrap.dedent(program))
    workshop.until_stamps("beats", 12)
    assert len(workshop.stamps()) == 1
    (workshop.directory / "hang1").touch()
    workshop.started(2)
    assert "health check heartbeat failed: none for 1.5 s" in workshop.errors


def test_an_application_that_says_that_it_has_failed(workshop: Workshop) -> None:
    program = """
    stamp()
    if os.environ["TOTEMD_SAM_INSTANCE"] == "1":
        notify("WATCHDOG=trigger")
    signal.pause()
    """
    python(workshop, program, "--ready", "notify", "--backoff", "1")
    workshop.started(2)
    assert "WATCHDOG=trigger" in workshop.errors


def test_a_stopped_job_is_not_asked_how_it_is(workshop: Workshop) -> None:
    """Nor is one that a signal has stopped: the interval is for that."""
    process = workshop.shell(
        f"{STAMP}; exec sleep 1000",
        *QUICK,
        "--interval",
        "60000",
        "--health",
        "exec:echo 1 $$ >> asked; test ! -e sick",
    )
    pid = workshop.started(1).pid
    workshop.until_stamps("asked", 2)
    os.kill(pid, 19)
    let_pass(0.5)
    (workshop.directory / "sick").touch()
    before = len(workshop.stamps("asked"))
    let_pass(0.5)
    assert len(workshop.stamps("asked")) <= before + 1 and process.poll() is None
    (workshop.directory / "sick").unlink()
    os.kill(pid, 18)
    workshop.until_stamps("asked", before + 2)
    assert len(workshop.stamps()) == 1


def test_tcp_and_http_of_a_server(workshop: Workshop) -> None:
    program = """
    import http.server
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(503 if os.path.exists("sick") else 200)
            self.end_headers()
        def log_message(self, *_):
            pass
    server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    stamp()
    server.serve_forever()
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    text = textwrap.dedent("import os, sys\ndef stamp():\n    print(os.environ['TOTEMD_SAM_INSTANCE'], os.getpid(), "
                           "file=open('stamps', 'a', 1))\n") + textwrap.dedent(program)  # fmt: skip
    both = ("--health", f"http://127.0.0.1:{port}/health", "--health", f"tcp:127.0.0.1:{port}")
    command = (sys.executable, "-S", "-c", text, str(port))
    workshop.sam_run(*QUICK[:4], "--health-failures", "2", *both, "--ready", "probe", *STATES, "--", *command)
    until_state(workshop, "starting", "unready", "running")
    (workshop.directory / "sick").touch()
    wait_until(lambda: "status 503" in workshop.errors, PATIENCE_SECONDS, lambda: workshop.errors)
    (workshop.directory / "sick").unlink()
    workshop.started(2)


# -- the drivers alone


@pytest.fixture
def answering() -> Iterator[Callable[[bytes | None], int]]:
    """Serve one answer to a connection (None: only accept), in a process of its own; return the port."""
    running: list[subprocess.Popen[bytes]] = []

    def serve(answer: bytes | None) -> int:
        program = (
            "import socket, sys\n"
            "server = socket.create_server(('127.0.0.1', 0)); print(server.getsockname()[1], flush=True)\n"
            "answer = eval(sys.argv[1])\n"
            "kept = []\n"
            "while True:\n"
            "    peer, _ = server.accept(); kept.append(peer)\n"
            "    if answer is not None:\n"
            "        peer.recv(10000); peer.sendall(answer); peer.close()\n"
        )
        running.append(subprocess.Popen([sys.executable, "-S", "-c", program, repr(answer)], stdout=subprocess.PIPE))
        output = running[-1].stdout
        assert output is not None
        return int(output.readline())

    yield serve
    for process in running:
        process.kill()
        process.communicate()


def ask(kind: Kind, target: str) -> str:
    async def live() -> str:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await checks.ask(Check(kind, target), None, {}, 1.0)  # type: ignore[arg-type]

    return asyncio.run(live())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 204\r\n\r\n", ""),
        (b"HTTP/1.1 302 Found\r\n", ""),
        (b"HTTP/1.1 404 Not Found\r\n", "status 404"),
        (b"HTTP/1.1 500 Oh\r\n", "status 500"),
        (b"SSH-2.0-OpenSSH\r\n", "its answer is no HTTP"),
        (b"x" * 100_000, "its answer is no HTTP"),
        (b"", "it closed the connection without an answer"),
    ],
)
def test_http_answers(answering: Callable[[bytes | None], int], answer: bytes, problem: str) -> None:
    assert ask(Kind.HTTP, f"http://127.0.0.1:{answering(answer)}/") == problem


def test_who_accepts_is_well_for_tcp(answering: Callable[[bytes | None], int]) -> None:
    assert ask(Kind.TCP, f"127.0.0.1:{answering(None)}") == ""


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert "refused" in ask(Kind.TCP, f"127.0.0.1:{port}").lower() or "failed" in ask(Kind.TCP, f"127.0.0.1:{port}")
    assert ask(Kind.HTTP, f"http://127.0.0.1:{port}/")


@given(st.binary(max_size=60))
def test_any_first_line_is_judged(line: bytes) -> None:
    assert isinstance(checks.status_problem(line), str)


# -- sd_notify's datagrams


@pytest.mark.parametrize(
    ("data", "notice"),
    [
        (b"READY=1", Notice(ready=True)),
        (b"READY=0", Notice()),
        (b"READY=1\nSTATUS=at work\nWATCHDOG=1\n", Notice(ready=True, beat=True, status="at work")),
        (b"WATCHDOG=trigger", Notice(failed=True)),
        (b"EXTEND_TIMEOUT_USEC=1500000", Notice(extend_seconds=1.5)),
        (b"EXTEND_TIMEOUT_USEC=-1", Notice()),
        (b"EXTEND_TIMEOUT_USEC=99999999999999999999", Notice(extend_seconds=EXTEND_SECONDS_MAX)),
        (b"STATUS=", Notice(status="")),
        (b"STATUS=\x1b[31mred\xff", Notice(status="?[31mred\ufffd")),
        (b"STATUS=" + b"x" * 5000, Notice(status="x" * STATUS_LENGTH_MAX)),
        (b"MAINPID=1\nX_OWN=2\nno equals\n=\n", Notice()),
        (b"", Notice()),
    ],
)
def test_datagrams(data: bytes, notice: Notice) -> None:
    assert parse(data) == notice


@given(st.binary(max_size=300))
def test_any_datagram_is_understood_or_passed_over(data: bytes) -> None:
    notice = parse(data)
    assert notice.status is None or notice.status.isprintable()


def test_the_address_leaves_no_file(workshop: Workshop) -> None:
    process = python(workshop, "stamp(); print(os.environ['NOTIFY_SOCKET'], flush=True)", "--ready", "notify",
                     "--policy", "quit")  # fmt: skip
    address = process.communicate(timeout=PATIENCE_SECONDS)[0].decode().strip()
    assert address.startswith("@") and not Path(address).exists()
