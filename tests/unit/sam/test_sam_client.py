"""SAM's acceptance scenarios with real processes: programs that use the client library, under a real sam-run.

The numbers are those of the table in docs/sam.md.  No node is needed: what an application says is for its sam-run.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
from samkit import PATIENCE_SECONDS, Workshop, runs
from totemd import sam
from totemd.ipc.errors import AccessDenied, ConnectionLost, InvalidArgument, NotFound
from totemd.ipc.messages.sam_app import INTERVAL_MS_MAX
from totemd.sam import environment
from totemd.testing import wait_until

PRELUDE = """
import asyncio, os, signal, sys, time
from totemd import TotemdError, sam

def note(*words):
    with open("said", "a") as said:
        print(*words, file=said)

def outcome(call, *arguments, **more):
    try:
        return call(*arguments, **more)
    except TotemdError as error:
        return type(error).__name__

def on_warning(number=signal.SIGTERM):
    signal.signal(number, lambda *_: note("warned", instance, number))

def beat(times, pause=0.02):
    for _ in range(times):
        time.sleep(pause)
        sam.health_check()

def stay():
    while True:
        time.sleep(1000)

instance = sam.instance()
note("begins", instance)
"""

AT_ONCE = ("--backoff", "0", "--max-restarts", "unlimited")
T = ("--interval", "500")


def program(workshop: Workshop, body: str, *options: str) -> subprocess.Popen[bytes]:
    """Start a program under sam-run; what it notes is in the file `said`."""
    return workshop.sam_run(*AT_ONCE, *options, "--", sys.executable, "-c", PRELUDE + body)


def said(workshop: Workshop) -> list[str]:
    path = workshop.directory / "said"
    return path.read_text().splitlines() if path.exists() else []


def ends(workshop: Workshop, process: subprocess.Popen[bytes], code: int, lines: list[str]) -> None:
    """sam-run ends with *code*, and this is all that its application has noted."""
    assert (workshop.finish(process), said(workshop)) == (code, lines), workshop.errors


def until_said(workshop: Workshop, line: str) -> None:
    wait_until(lambda: line in said(workshop), PATIENCE_SECONDS, lambda: f"{line}: {said(workshop)} {workshop.errors}")


# -- the scenarios


def test_s01_who_is_silent_is_warned_killed_and_started_again(workshop: Workshop) -> None:
    body = "sam.register(); on_warning(); sam.start()\nif instance == 2: sam.finalize(); sys.exit(0)\nbeat(10); stay()"
    ends(workshop, program(workshop, body, *T), 0, ["begins 1", "warned 1 15", "begins 2"])
    assert "instance 1 was killed by SIGKILL; instance 2 starts" in workshop.errors


def test_s02_silence_while_stopped_is_no_failure(workshop: Workshop) -> None:
    body = (
        "sam.register(); sam.start()\nif instance == 2: sam.finalize(); sys.exit(0)\n"
        "beat(3); sam.stop(); time.sleep(1.5); note('still', os.getpid() > 0); sam.start(); stay()"
    )
    ends(workshop, program(workshop, body, *T), 0, ["begins 1", "still True", "begins 2"])


def test_s03_s04_s07_s12_s22_calls_that_do_not_fit_are_refused(workshop: Workshop) -> None:
    body = """
calls = {"start": sam.start, "stop": sam.stop, "health_check": sam.health_check, "restore": sam.restore,
         "store": lambda: sam.store(b"x"), "check": lambda: sam.on_health_check(print), "mark": sam.mark_failed,
         "signal": lambda: sam.warn_signal(10), "finalize": sam.finalize}
note("before", *{outcome(call) for call in calls.values()})
sam.register()
note("again", outcome(sam.register), outcome(sam.stop), outcome(sam.health_check), outcome(sam.mark_failed))
note("none", outcome(sam.on_health_check, None))
sam.start(); note("started", outcome(sam.start), outcome(sam.on_health_check, print))
sam.stop(); sam.start(); sam.finalize()
note("after", *{outcome(call) for call in calls.values()} | {outcome(sam.register)})
"""
    ends(
        workshop,
        program(workshop, body, "--interval", "20000"),
        0,
        [
            "begins 1",
            "before WrongState",
            "again WrongState WrongState WrongState InvalidArgument",
            "none InvalidArgument",
            "started WrongState WrongState",
            "after WrongState",
        ],
    )


def test_s05_policy_quit_warns_once_and_kills(workshop: Workshop) -> None:
    body = "sam.register(); on_warning(); sam.start(); stay()"
    ends(workshop, program(workshop, body, *T, "--policy", "quit"), 137, ["begins 1", "warned 1 15"])


def test_s06_without_an_interval_only_crashes_count(workshop: Workshop) -> None:
    body = (
        "sam.register()\nif instance == 5: sys.exit(0)\n"
        "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "sam.start(); os.kill(os.getpid(), signal.SIGSEGV)"
    )
    ends(workshop, program(workshop, body, "--interval", "0"), 0, [f"begins {number}" for number in range(1, 6)])


def test_s08_s09_stored_data_in_one_instance(workshop: Workshop) -> None:
    body = """
sam.register(); note("nothing", sam.restore())
sam.store(b"twelve bytes"); note(sam.restore()); sam.store(bytearray(b"less")); note(sam.restore())
note(outcome(sam.store, bytes(sam.STORED_BYTES_MAX + 1)), sam.restore())
sam.store(bytes(sam.STORED_BYTES_MAX)); note(len(sam.restore())); sam.store(None); note(sam.restore())
"""
    expected = ["begins 1", "nothing b''", "b'twelve bytes'", "b'less'", "InvalidArgument b'less'", "1048576", "b''"]
    ends(workshop, program(workshop, body), 0, expected)


def test_s10_stored_data_over_instances(workshop: Workshop) -> None:
    body = """
sam.register(); sam.start(); note(sam.restore())
if instance == 1: sam.store(b"from 1"); os.abort()
if instance == 2: sam.store(None); os.kill(os.getpid(), 9)
sam.finalize()
"""
    expected = ["begins 1", "b''", "begins 2", "b'from 1'", "begins 3", "b''"]
    ends(workshop, program(workshop, body), 0, expected)


def test_s11_a_program_that_is_asked_until_it_fails(workshop: Workshop) -> None:
    body = """
count = 0
def well():
    global count
    count += 1
    sam.store(b"%d" % count)
    return count <= 10
sam.register(); note("stored", sam.restore())
if instance == 2: sys.exit(0)
sam.on_health_check(well); on_warning(); sam.start()
while True: sam.dispatch()
"""
    expected = ["begins 1", "stored b''", "warned 1 15", "begins 2", "stored b'11'"]
    ends(workshop, program(workshop, body, "--interval", "400"), 0, expected)


def test_s12_checks_need_an_interval(workshop: Workshop) -> None:
    body = "sam.register(interval=0); note(outcome(sam.on_health_check, print))"
    ends(workshop, program(workshop, body), 0, ["begins 1", "InvalidArgument"])


def test_s13_another_warn_signal(workshop: Workshop) -> None:
    body = (
        "sam.register()\nif instance == 2: sys.exit(0)\n"
        "on_warning(signal.SIGUSR1); on_warning(); sam.warn_signal(signal.SIGUSR1); sam.start(); stay()"
    )
    ends(workshop, program(workshop, body, *T), 0, ["begins 1", "warned 1 10", "begins 2"])


def test_s14_sigkill_for_the_warn_signal(workshop: Workshop) -> None:
    body = (
        "sam.register()\nif instance == 2: sys.exit(0)\n"
        "on_warning(); sam.warn_signal(signal.SIGKILL); sam.start(); stay()"
    )
    ends(workshop, program(workshop, body, *T), 0, ["begins 1", "begins 2"])


def test_s21_who_marks_itself_as_failed_is_not_started_again(workshop: Workshop) -> None:
    body = "sam.register(policy='restart+cmap'); on_warning(); sam.start(); sam.mark_failed(); stay()"
    ends(workshop, program(workshop, body), 124, ["begins 1"])
    assert "has marked itself as failed" in workshop.errors


def test_s23_an_end_while_watched_is_a_failure_whatever_its_code(workshop: Workshop) -> None:
    body = "sam.register(); sam.start()\nif instance == 2: sam.finalize()\nsys.exit(0)"
    ends(workshop, program(workshop, body), 0, ["begins 1", "begins 2"])


def test_s24_an_end_before_the_start_is_final(workshop: Workshop) -> None:
    ends(workshop, program(workshop, "sam.register(); sys.exit(3)"), 3, ["begins 1"])


def test_s25_policy_quit_hands_the_exit_code_on(workshop: Workshop) -> None:
    ends(workshop, program(workshop, "sam.register(policy='quit'); sam.start(); sys.exit(5)"), 5, ["begins 1"])


def test_s26_sigterm_to_sam_run_takes_the_application_along(workshop: Workshop) -> None:
    process = program(workshop, "sam.register(); sam.start(); note('pid', os.getpid()); beat(10**6)")
    wait_until(lambda: len(said(workshop)) == 2, PATIENCE_SECONDS, lambda: f"{said(workshop)} {workshop.errors}")
    pid = int(said(workshop)[1].split()[1])
    process.terminate()
    assert workshop.finish(process) == 143
    assert not runs(pid)


def test_s27_a_late_sign_of_life_withdraws_no_warning(workshop: Workshop) -> None:
    body = """
warned = False
def late(*_):
    global warned
    warned = True
sam.register()
if instance == 2: sys.exit(0)
signal.signal(signal.SIGTERM, late); sam.start()
while not warned: time.sleep(0.01)
begin = time.monotonic(); beat(60); note("beaten for more than T", time.monotonic() - begin > 0.5)
warned = False; time.sleep(30)
"""
    expected = ["begins 1", "beaten for more than T True", "begins 2"]
    ends(workshop, program(workshop, body, *T), 0, expected)
    assert workshop.errors.count("gave no sign of life") == 1


# -- the common case, in one line


def test_a_block_that_is_left_by_an_exception_is_a_failure(workshop: Workshop) -> None:
    body = "with sam.supervised() as app:\n    note(app.instance)\n    if instance < 3: 1 / 0\n    app.health_check()"
    ends(workshop, program(workshop, body), 0, ["begins 1", "1", "begins 2", "2", "begins 3", "3"])


def test_a_function_that_is_watched(workshop: Workshop) -> None:
    body = "@sam.supervised(interval=0)\ndef main():\n    note('works')\n    if instance == 1: sys.exit(1)\n\nmain()"
    ends(workshop, program(workshop, body), 0, ["begins 1", "works", "begins 2", "works"])


def test_a_coroutine_function_is_not_left_unwatched_in_silence() -> None:
    async def main() -> None: ...

    with pytest.raises(InvalidArgument, match=r"aio\.Application"):
        sam.supervised()(main)


def test_a_program_that_is_asked_by_way_of_its_own_select(workshop: Workshop) -> None:
    body = """
import select
sam.register(); sam.on_health_check(lambda: note("asked")); sam.start()
end = time.monotonic() + 1.5
while time.monotonic() < end:
    if select.select([sam.fileno()], [], [], 0.5)[0]: sam.dispatch(timeout=0)
sam.finalize()
"""
    process = program(workshop, body, "--interval", "400")
    assert workshop.finish(process) == 0, workshop.errors
    assert said(workshop).count("asked") >= 2 and "begins 2" not in said(workshop)


LOOPED = """
async def main():
    async with sam.aio.Application(check=check) as app:
        note("restored", await app.restore()); await app.store(b"kept")
        await work()

async def check(): checks.append(1)
checks = []
"""


def test_a_loop_that_turns_is_well_and_one_that_hangs_is_not(workshop: Workshop) -> None:
    body = f"""{LOOPED}
async def work():
    await asyncio.sleep(1.5)
    note("checked", len(checks) > 1)
    if instance == 1: time.sleep(60)
asyncio.run(main())
"""
    expected = ["begins 1", "restored b''", "checked True", "begins 2", "restored b'kept'", "checked True"]
    ends(workshop, program(workshop, body, *T), 0, expected)


@pytest.mark.parametrize("wrong", ["return False", "raise RuntimeError('ill')", "await asyncio.sleep(60)"])
def test_a_loop_whose_check_fails_is_not_well(workshop: Workshop, wrong: str) -> None:
    body = f"""{LOOPED}
async def check():
    if instance == 1: {wrong}
async def work(): await asyncio.sleep(60 if instance == 1 else 0.1)
asyncio.run(main())
"""
    ends(workshop, program(workshop, body, *T), 0, ["begins 1", "restored b''", "begins 2", "restored b'kept'"])


def test_a_program_puts_itself_under_sam_run(workshop: Workshop) -> None:
    """As sam_register does: this process becomes the supervisor, a child of it the program."""
    body = """
before = os.environ.get("FIRST_PID"); os.environ.setdefault("FIRST_PID", str(os.getpid()))
sam.supervise(policy="quit", name="itself", interval=1.5, options=["--run-dir", os.getcwd()])
note(sam.register(), sam.name(), os.getppid() == int(before), os.environ["TOTEMD_SAM_POLICY"])
sys.exit(9)
"""
    source = workshop.directory / "program.py"
    source.write_text(PRELUDE + body)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOTEMD_")}
    done = subprocess.run(
        [sys.executable, str(source)], cwd=workshop.directory, env=kept, timeout=PATIENCE_SECONDS, check=False
    )
    assert (done.returncode, said(workshop)) == (9, ["begins 0", "begins 1", "1 itself True quit"])


# -- who may speak, and to whom


def test_outside_of_sam_run_the_error_names_the_command() -> None:
    with pytest.raises(NotFound, match=re.escape("start it as `sam-run -- ")):
        sam.Application(variables={})


def test_a_stranger_is_not_let_in(workshop: Workshop) -> None:
    workshop.shell("echo $TOTEMD_SAM_SOCKET > address; exec sleep 1000")
    address = workshop.directory / "address"
    wait_until(lambda: address.exists() and address.read_text(), PATIENCE_SECONDS, lambda: workshop.errors)
    variables = {environment.SOCKET: address.read_text().strip()}
    with pytest.raises(AccessDenied, match="belongs to no application"):
        sam.Application(variables=variables)


def test_a_grandchild_speaks_for_its_application(workshop: Workshop) -> None:
    inner = PRELUDE + "sam.register(policy='quit'); sam.start(); note('inner'); beat(3); sam.stop()"
    (workshop.directory / "inner.py").write_text(inner)
    process = workshop.shell(f"setsid {sys.executable} inner.py & wait; exit 4", "--policy", "restart")
    ends(workshop, process, 4, ["begins 1", "inner"])


def test_a_second_process_cannot_register(workshop: Workshop) -> None:
    body = """
sam.register()
if os.fork() == 0:
    from totemd.sam.calling import _Process
    _Process.application = None
    note(outcome(sam.register))
    os._exit(0)
os.wait()
"""
    ends(workshop, program(workshop, body), 0, ["begins 1", "WrongState"])


def test_a_program_that_becomes_another_registers_again(workshop: Workshop) -> None:
    (workshop.directory / "next.py").write_text(PRELUDE + "note(sam.register()); sam.start(); sam.stop()")
    body = "sam.register(); sam.start(); os.execv(sys.executable, [sys.executable, 'next.py'])"
    ends(workshop, program(workshop, body, "--interval", "20000"), 0, ["begins 1", "begins 1", "1"])


def test_a_program_goes_on_when_its_sam_run_is_killed(workshop: Workshop) -> None:
    body = """
sam.register(); sam.start(); note("pid", os.getpid())
while sam.health_check(): time.sleep(0.02)
note("alone", outcome(sam.restore)); stay()
"""
    process = program(workshop, body)
    wait_until(lambda: len(said(workshop)) == 2, PATIENCE_SECONDS, lambda: f"{said(workshop)} {workshop.errors}")
    process.kill()
    until_said(workshop, "alone ConnectionLost")
    os.kill(int(said(workshop)[1].split()[1]), signal.SIGKILL)


def test_bytes_that_are_no_message_disturb_nobody(workshop: Workshop) -> None:
    body = """
from pathlib import Path
from totemd.ipc.blocking import BlockingConnection
from totemd.ipc.messages.sam_app import ROLE, TO_APP
noisy = BlockingConnection(Path(os.environ["TOTEMD_SAM_SOCKET"]), ROLE, TO_APP, service="x"); noisy.open(5)
for frames in ([b""], [b"\\xff" * 100], [b"\\x81\\xa4type\\xa9sam.enrol"], [os.urandom(1000)], [b"\\x80"] * 5):
    noisy.send_encoded(frames)
note(sam.register()); sam.start(); beat(3); sam.finalize()
"""
    ends(workshop, program(workshop, body), 0, ["begins 1", "1"])


@pytest.mark.parametrize(
    "wrong",
    [{"interval": -1.0}, {"interval": INTERVAL_MS_MAX}, {"policy": "sometimes"}, {"policy": ""}],
)
def test_what_cannot_be_is_refused_before_anybody_is_asked(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        sam.Application(variables={}, **wrong)  # type: ignore[arg-type]


def test_a_keeper_that_is_gone_is_said_to_be_gone() -> None:
    with pytest.raises(ConnectionLost, match="did not answer"):
        sam.Application(timeout=0.3, variables={environment.SOCKET: "@totemd-no-such-socket"})
