"""sam-run as its users meet it: a real process with a real application, most of them without a sam process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from samkit import PATIENCE_SECONDS, STAMP, Workshop, runs
from totemd.testing import wait_until

STAY = f"{STAMP}; exec sleep 1000"
QUICK = ("--backoff", "0", "--max-restarts", "unlimited")

ESCAPE = f"""{STAMP}
sleep 1001 & echo 0 $! >> family
( setsid sh -c 'sleep 1002 & echo 0 $! >> family; echo 0 $$ >> family; wait' & )
sleep 1003
"""
"""Leaves a child and, in a session of its own and by way of a parent that has ended, two grandchildren."""


# -- ends, exit codes, restarts


@pytest.mark.parametrize("code", [0, 5, 255])
def test_quit_passes_the_exit_code_on(workshop: Workshop, code: int) -> None:
    assert workshop.finish(workshop.shell(f"exit {code}", "--policy", "quit")) == code


def test_an_exit_code_by_which_it_says_that_it_is_done(workshop: Workshop) -> None:
    script = f"{STAMP}; exit $((6 - TOTEMD_SAM_INSTANCE))"
    process = workshop.shell(script, "--done-codes", "0, 3", "--backoff", "1")
    assert workshop.finish(process) == 3
    assert [stamp.instance for stamp in workshop.stamps()] == [1, 2, 3]
    assert "instance 3 exited with code 3: it is done" in workshop.errors


def test_a_signal_is_no_exit_code(workshop: Workshop) -> None:
    script = f'{STAMP}; [ "$TOTEMD_SAM_INSTANCE" = 1 ] && kill -TERM $$; exit 0'
    assert workshop.finish(workshop.shell(script, "--done-codes", "0,15,143")) == 0
    assert len(workshop.stamps()) == 2


def test_quit_tells_of_a_signal_as_shells_do(workshop: Workshop) -> None:
    assert workshop.finish(workshop.shell("kill -SEGV $$", "--policy", "quit")) == 128 + signal.SIGSEGV


def test_a_crash_is_followed_by_the_next_instance(workshop: Workshop) -> None:
    process = workshop.shell(STAY, "--name", "web")
    for instance in (1, 2, 3):
        stamp = workshop.started(instance)
        assert psutil.Process(stamp.pid).ppid() == process.pid
        os.kill(stamp.pid, signal.SIGKILL)
    workshop.started(4)
    assert "sam-run: web: instance 3 was killed by SIGKILL; instance 4 starts" in workshop.errors


def test_too_many_restarts_are_given_up(workshop: Workshop) -> None:
    process = workshop.shell(f"{STAMP}; exit 3", "--backoff", "1", "--max-restarts", "3", "--within", "60")
    assert workshop.finish(process) == 124
    assert [stamp.instance for stamp in workshop.stamps()] == [1, 2, 3, 4]
    assert "instance 4 exited with code 3; failed too often: given up" in workshop.errors


def test_a_hundred_restarts_leave_no_zombie_and_no_descriptor(workshop: Workshop) -> None:
    script = f'{STAMP}; [ "$TOTEMD_SAM_INSTANCE" -lt 100 ] && exit 1; exec sleep 1000'
    process = workshop.shell(script, *QUICK)
    workshop.started(100)
    view = psutil.Process(process.pid)
    assert len(view.children()) == 1
    assert view.num_fds() < 30


def test_the_environment_tells_an_instance_who_it_is(workshop: Workshop) -> None:
    process = workshop.shell("env > variables", "--name", "web", "--policy", "quit", "--interval", "250")
    assert workshop.finish(process) == 0
    text = (workshop.directory / "variables").read_text()
    variables = dict(line.split("=", 1) for line in text.splitlines() if line.startswith("TOTEMD_SAM_"))
    assert variables.pop("TOTEMD_SAM_SOCKET").startswith(f"@totemd-sam-run-{process.pid}-")
    assert variables == {
        "TOTEMD_SAM_NAME": "web",
        "TOTEMD_SAM_INSTANCE": "1",
        "TOTEMD_SAM_POLICY": "quit",
        "TOTEMD_SAM_INTERVAL": "250",
        "TOTEMD_SAM_RUN_DIR": str(workshop.directory),
        "TOTEMD_SAM_PID": str(process.pid),
    }


def test_an_application_without_a_name_gets_its_programs(workshop: Workshop) -> None:
    process = workshop.shell("echo $TOTEMD_SAM_NAME", "--policy", "quit")
    assert process.communicate(timeout=PATIENCE_SECONDS)[0].decode().strip() == f"sh-{process.pid}"


def test_a_command_that_does_not_exist(workshop: Workshop) -> None:
    assert workshop.finish(workshop.sam_run("--", "./no-such-program")) == 127
    assert "./no-such-program: No such file or directory" in workshop.errors


def test_a_command_that_cannot_be_run(workshop: Workshop) -> None:
    (workshop.directory / "data").write_text("no program")
    assert workshop.finish(workshop.sam_run("--", "./data")) == 126


def test_wrong_options_are_sam_runs_own_failure(workshop: Workshop) -> None:
    assert workshop.finish(workshop.sam_run("--policy", "maybe", "--", "true")) == 125
    assert workshop.finish(workshop.sam_run("--interval", "-1", "--", "true")) == 125
    assert workshop.finish(workshop.sam_run()) == 125
    assert "restart or quit would be accepted" in workshop.errors


def test_the_application_gets_the_signal_mask_and_actions_that_sam_run_got(workshop: Workshop) -> None:
    program = "print(*(line.split()[1] for line in open('/proc/self/status') if line[:6] in ('SigBlk', 'SigIgn')))"
    seen = workshop.sam_run("--policy", "quit", "--", sys.executable, "-S", "-c", program)
    plain = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, check=True).stdout
    assert masks(seen.communicate(timeout=PATIENCE_SECONDS)[0]) == masks(plain)


def masks(words: bytes) -> list[int]:
    """Sets of signals; those that the C library keeps for itself (32 and 33) it ignores after a posix_spawn."""
    return [int(word, 16) & ~(0b11 << 31) for word in words.split()]


# -- stopping


def test_sigterm_stops_without_restart_and_tells_the_code(workshop: Workshop) -> None:
    process = workshop.shell(f"trap 'exit 9' TERM; {STAMP}; while :; do sleep 0.05; done")
    workshop.started(1)
    process.terminate()
    assert workshop.finish(process) == 9
    assert len(workshop.stamps()) == 1


def test_sigterm_kills_what_does_not_heed_it(workshop: Workshop) -> None:
    process = workshop.shell(f"trap '' TERM; {STAMP}; while :; do sleep 0.05; done", "--stop-timeout", "200")
    workshop.started(1)
    process.terminate()
    assert workshop.finish(process) == 137


def test_the_stop_signal_can_be_another(workshop: Workshop) -> None:
    process = workshop.shell(f"trap 'exit 4' USR1; {STAMP}; while :; do sleep 0.05; done", "--stop-signal", "USR1")
    workshop.started(1)
    process.terminate()
    assert workshop.finish(process) == 4


def test_sigint_from_a_process_is_passed_on_and_stops(workshop: Workshop) -> None:
    process = workshop.shell(f"trap 'exit 6' INT; {STAMP}; while :; do sleep 0.05; done")
    workshop.started(1)
    process.send_signal(signal.SIGINT)
    assert workshop.finish(process) == 6


def test_stop_ends_the_whole_tree_escaped_grandchildren_too(workshop: Workshop) -> None:
    process = workshop.shell(ESCAPE)
    family = [workshop.started(1).pid]
    workshop.until_stamps("family", 3)
    family += [stamp.pid for stamp in workshop.stamps("family")]
    assert all(map(runs, family))
    process.terminate()
    assert workshop.finish(process) == 143
    assert not any(map(runs, family))


def test_what_a_crashed_instance_left_is_gone_before_the_next_starts(workshop: Workshop) -> None:
    workshop.shell(ESCAPE)
    main = workshop.started(1).pid
    workshop.until_stamps("family", 3)
    family = [stamp.pid for stamp in workshop.stamps("family")]
    os.kill(main, signal.SIGKILL)
    workshop.started(2)
    assert not any(map(runs, family))
    assert "left processes behind" in workshop.errors


def test_quit_ends_what_the_application_left(workshop: Workshop) -> None:
    process = workshop.shell("sleep 1000 & echo 0 $! >> family; exit 3", "--policy", "quit")
    assert workshop.finish(process) == 3
    assert not runs(workshop.stamps("family")[0].pid)


def test_stop_while_waiting_to_restart(workshop: Workshop) -> None:
    process = workshop.shell(f"{STAMP}; exit 1", "--backoff", "60000", "--backoff-max", "60000")
    wait_until(lambda: "instance 2 starts in" in workshop.errors, PATIENCE_SECONDS, "the back-off")
    process.terminate()
    assert workshop.finish(process) == 143


# -- signals


@pytest.mark.parametrize("name", ["HUP", "QUIT", "USR1", "USR2", "WINCH", "ALRM", "CONT"])
def test_a_signal_for_sam_run_alone_is_passed_on(workshop: Workshop, name: str) -> None:
    process = workshop.shell(f"trap 'echo 0 1 >> got' {name}; {STAMP}; while :; do sleep 0.05; done")
    workshop.started(1)
    process.send_signal(signal.Signals[f"SIG{name}"])
    workshop.until_stamps("got")
    assert process.poll() is None


@pytest.mark.parametrize(("name", "code"), [("HUP", 129), ("QUIT", 131)])
def test_who_dies_of_a_terminals_signal_is_not_restarted(workshop: Workshop, name: str, code: int) -> None:
    process = workshop.shell(STAY)
    workshop.started(1)
    process.send_signal(signal.Signals[f"SIG{name}"])
    assert workshop.finish(process) == code


def test_who_dies_of_another_signal_is_restarted(workshop: Workshop) -> None:
    process = workshop.shell(STAY)
    workshop.started(1)
    process.send_signal(signal.SIGUSR1)
    workshop.started(2)


def test_nohup_holds_for_both(workshop: Workshop) -> None:
    def ignore_hangups() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = workshop.shell(STAY, preexec_fn=ignore_hangups)
    pid = workshop.started(1).pid
    os.kill(pid, signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGUSR1)  # signals are read in order of their numbers: HUP, if it counted, came first
    workshop.started(2)
    assert runs(process.pid)


# -- failures of what lives


def test_a_stopped_application_is_warned_and_restarted(workshop: Workshop) -> None:
    workshop.shell(
        f"trap 'echo 0 1 >> warned; exit 1' USR1; {STAMP}; while :; do sleep 0.05; done",
        "--interval",
        "200",
        "--warn-signal",
        "USR1",
    )
    os.kill(workshop.started(1).pid, signal.SIGSTOP)
    workshop.started(2)
    assert workshop.stamps("warned"), "it was continued, so that it could act on the warning"


def test_a_stopped_application_that_ignores_the_warning_is_killed(workshop: Workshop) -> None:
    process = workshop.shell(f"trap '' TERM; {STAMP}; while :; do sleep 0.05; done", "--interval", "200")
    os.kill(workshop.started(1).pid, signal.SIGSTOP)
    workshop.started(2)
    assert "instance 1 was killed by SIGKILL" in workshop.errors
    process.terminate()


def test_a_short_stop_is_no_failure(workshop: Workshop) -> None:
    process = workshop.shell(f"{STAMP}; while :; do sleep 0.02; echo 0 0 >> beats; done", "--interval", "60000")
    pid = workshop.started(1).pid
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, PATIENCE_SECONDS, "it stops")
    beats = len(workshop.stamps("beats"))
    os.kill(pid, signal.SIGCONT)
    workshop.until_stamps("beats", beats + 1)
    assert process.poll() is None and len(workshop.stamps()) == 1


# -- with nobody who listens


def test_without_a_sam_process_it_says_so_and_goes_on(workshop: Workshop) -> None:
    process = workshop.shell("exit 3", "--policy", "quit")
    assert workshop.finish(process) == 3
    assert workshop.errors.count("\n") == 1
    assert f"no sam process serves {workshop.directory}/sam.sock; supervising alone" in workshop.errors


def test_quiet_is_quiet(workshop: Workshop) -> None:
    assert workshop.finish(workshop.shell("exit 3", "--policy", "quit", "--quiet")) == 3
    assert workshop.errors == ""


def test_require_sam_refuses_to_start_alone(workshop: Workshop) -> None:
    assert workshop.finish(workshop.shell(STAY, "--require-sam")) == 125
    assert workshop.stamps() == []


def test_a_run_directory_that_is_too_long_is_said(workshop: Workshop) -> None:
    deep = workshop.directory / ("d" * 100)
    deep.mkdir()
    (deep / "sam.sock").touch()
    assert workshop.finish(workshop.sam_run("--run-dir", str(deep), "--", "true")) == 125
    assert "at most 107 bytes" in workshop.errors


def test_nobody_reading_standard_error_stops_nothing(workshop: Workshop) -> None:
    """A full pipe must not hold up restarts."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    process = subprocess.Popen(
        workshop.command(*QUICK, "--", "sh", "-c", f"{STAMP}; [ $TOTEMD_SAM_INSTANCE = 20 ] && exec sleep 1000"),
        cwd=workshop.directory,
        stderr=writing,
        start_new_session=True,
    )
    try:
        workshop.started(20)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        os.close(reading)
        os.close(writing)
