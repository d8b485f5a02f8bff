"""What an application is started with, and where its output goes: real sam-runs."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from samkit import PATIENCE_SECONDS, STAMP, Workshop
from totemd.sam.log import LogFile
from totemd.sam.spec import LogPolicy
from totemd.testing import wait_until

ONCE = ("--policy", "quit")
NOBODY = pwd.getpwnam("nobody")
IS_ROOT = os.geteuid() == 0


def said(workshop: Workshop, script: str, *options: str, code: int = 0) -> str:
    """What a shell script says under sam-run."""
    process = workshop.shell(script, *ONCE, *options)
    output = process.communicate(timeout=PATIENCE_SECONDS)[0].decode()
    assert process.returncode == code, workshop.errors
    return output


# -- surroundings


def test_variables_come_from_files_and_options_in_this_order(workshop: Workshop) -> None:
    (workshop.directory / "first").write_text("# comment\nA=file\n\nexport B='two words'\nC=1=2\n")
    (workshop.directory / "second").write_text('C="other"\nD=d\n')
    files = ("--env-file", "first", "--env-file", "second")
    text = said(workshop, 'echo "$A|$B|$C|$D|$E"', *files, "--env", "A=option", "--env", "E=")
    assert text == "option|two words|other|d|\n"


def test_a_cleared_environment_holds_little_more_than_ours(workshop: Workshop) -> None:
    process = workshop.shell("env", *ONCE, "--clear-env", "--env", "X=1", env={**os.environ, "SECRET": "1"})
    names = {line.partition("=")[0] for line in process.communicate(timeout=PATIENCE_SECONDS)[0].decode().splitlines()}
    ours = {name for name in names if name.startswith("TOTEMD_SAM_")}
    assert "TOTEMD_SAM_NAME" in ours and {"X", "PATH"} <= names
    assert names - ours <= {"X", "PATH", "HOME", "TERM", "LANG", "PWD", "SHLVL", "_", "OLDPWD"}


def test_directory_and_umask(workshop: Workshop) -> None:
    (workshop.directory / "inner").mkdir()
    text = said(workshop, "pwd; umask; touch made", "--directory", "inner", "--umask", "077")
    assert text == f"{workshop.directory}/inner\n0077\n"
    assert (workshop.directory / "inner" / "made").stat().st_mode & 0o777 == 0o600


def test_a_program_is_found_from_its_directory(workshop: Workshop) -> None:
    (workshop.directory / "inner").mkdir()
    program = workshop.directory / "inner" / "program"
    program.write_text("#!/bin/sh\necho here\n")
    program.chmod(0o755)
    process = workshop.sam_run(*ONCE, "--directory", "inner", "--", "./program")
    assert process.communicate(timeout=PATIENCE_SECONDS)[0] == b"here\n"


def test_limits_and_priority(workshop: Workshop) -> None:
    limits = ("--rlimit", "nofile=100:200", "--rlimit", "CORE=0")
    text = said(workshop, "ulimit -Sn; ulimit -Hn; ulimit -c; nice", *limits, "--nice", "7")
    assert text == f"100\n200\n0\n{os.nice(0) + 7 if os.nice(0) == 0 else 7}\n"


@pytest.mark.skipif(not IS_ROOT, reason="only root may become somebody else")
@pytest.mark.parametrize("user", ["nobody", str(NOBODY.pw_uid)])
def test_another_user_with_all_that_belongs_to_it(workshop: Workshop, user: str) -> None:
    workshop.directory.chmod(0o755)
    # sam-run itself has groups that it must not hand on.
    process = workshop.shell("id -u; id -g; id -G; echo $USER $HOME", *ONCE, "--uid", user, extra_groups=[12, 34])
    text = process.communicate(timeout=PATIENCE_SECONDS)[0].decode()
    groups = " ".join(map(str, sorted(os.getgrouplist("nobody", NOBODY.pw_gid))))
    uid, gid, all_groups, who = text.splitlines()
    assert (uid, gid, who) == (str(NOBODY.pw_uid), str(NOBODY.pw_gid), f"nobody {NOBODY.pw_dir}")
    assert " ".join(sorted(all_groups.split(), key=int)) == groups


@pytest.mark.skipif(not IS_ROOT, reason="only root may become somebody else")
def test_what_another_user_may_not_run(workshop: Workshop) -> None:
    workshop.directory.chmod(0o755)
    program = workshop.directory / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    assert workshop.finish(workshop.sam_run("--uid", "nobody", "--", str(program))) == 126
    assert workshop.finish(workshop.sam_run("--uid", "nobody", "--", "./no-such-program")) == 127
    assert "Permission denied" in workshop.errors and "No such file" in workshop.errors


def test_a_forked_application_has_the_signals_that_sam_run_was_given(workshop: Workshop) -> None:
    program = "print([line.split()[1] for line in open('/proc/self/status') if line[:6] in ('SigBlk', 'SigIgn')])"
    plain = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, check=True).stdout
    process = workshop.sam_run(*ONCE, "--nice", "5", "--", sys.executable, "-S", "-c", program)
    assert process.communicate(timeout=PATIENCE_SECONDS)[0] == plain


@pytest.mark.parametrize("more", [(), ("--nice", "5")])
def test_descriptors_that_sam_run_was_given_reach_the_application(workshop: Workshop, more: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    program = f"import os; os.write({writing}, b'through')"
    process = workshop.sam_run(*ONCE, *more, "--", sys.executable, "-S", "-c", program, pass_fds=[writing])
    os.close(writing)
    assert workshop.finish(process) == 0
    assert os.read(reading, 100) == b"through"
    os.close(reading)


def test_a_directory_that_is_not_there_is_not_a_missing_command(workshop: Workshop) -> None:
    process = workshop.sam_run("--directory", "nowhere", "--", "true")
    assert workshop.finish(process) == 125
    assert "directory nowhere: No such file or directory" in workshop.errors


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--env", "1A=2"), "NAME=VALUE would be accepted"),
        (("--env-file", "none"), "No such file"),
        (("--env-file", "bad"), "bad:2: 'no variable'"),
        (("--rlimit", "nofiles=1"), "nofile"),
        (("--rlimit", "nofile=2:1"), "not above the hard one"),
        (("--umask", "8"), "octal"),
        (("--uid", "no-such-user"), "there is no such user"),
        (("--uid", "54321"), "--gid would be needed"),
        (("--gid", "no-such-group"), "there is no such group"),
        (("--health", "ping:1"), "tcp:HOST:PORT"),
        (("--health", "https://x/"), "exec:curl"),
        (("--health", "tcp:host"), "tcp:HOST:PORT"),
        (("--health", "http://host:99999/"), "http://HOST"),
        (("--ready", "fd:2"), "3 to 1023"),
        (("--ready", "probe"), "--health"),
        (("--on", "sad=true"), "backoff"),
        (("--max-rss", "much"), "200M"),
        (("--max-cpu", "-1"), "90%"),
        (("--done-codes", "1,256"), "0 to 255"),
        (("--log", "/no/such/folder/log"), "/no/such/folder/log"),
    ],
)
def test_refusals(workshop: Workshop, options: tuple[str, str], says: str) -> None:
    (workshop.directory / "bad").write_text("A=1\nno variable\n")
    assert workshop.finish(workshop.sam_run(*options, "--", "true")) == 125
    assert says in workshop.errors


# -- logs


def test_output_goes_to_a_file_through_all_instances(workshop: Workshop) -> None:
    script = 'echo "out $TOTEMD_SAM_INSTANCE"; echo err >&2; exit 1'
    process = workshop.shell(script, "--log", "log", "--backoff", "0", "--max-restarts", "2")
    assert workshop.finish(process) == 124
    assert (workshop.directory / "log").read_text() == "out 1\nerr\nout 2\nerr\nout 3\nerr\n"
    assert process.communicate()[0] == b""


def test_standard_error_can_have_its_own_file(workshop: Workshop) -> None:
    said(workshop, "echo out; echo err >&2", "--log", "log", "--log-stderr", "errors")
    assert (workshop.directory / "log").read_text() == "out\n"
    assert (workshop.directory / "errors").read_text().endswith("err\n")
    assert said(workshop, "echo out; echo err >&2", "--log-stderr", "only") == "out\n"
    assert (workshop.directory / "only").read_text() == "err\n"


def test_lines_can_carry_the_time(workshop: Workshop) -> None:
    said(workshop, "echo one; printf 'half '; sleep 0.05; echo line", "--log", "log", "--log-times")
    lines = (workshop.directory / "log").read_text().splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
    assert [re.sub(stamp, "", line) for line in lines] == ["one", "half line"]
    assert all(re.match(stamp, line) for line in lines)


def test_a_log_is_rotated_and_loses_no_line(workshop: Workshop) -> None:
    script = 'i=0; while [ $i -lt 1000 ]; do echo "line $i"; i=$((i+1)); done'
    said(workshop, script, "--log", "log", "--log-max", "2K", "--log-keep", "100")
    files = sorted(workshop.directory.glob("log*"), key=lambda path: -int(path.suffix[1:] or 0))
    assert "".join(path.read_text() for path in files) == "".join(f"line {i}\n" for i in range(1000))
    assert all(path.stat().st_size <= 2048 for path in files) and len(files) > 4
    assert all(path.read_text().endswith("\n") for path in files)


def test_only_so_many_old_logs_are_kept(workshop: Workshop) -> None:
    script = 'i=0; while [ $i -lt 1000 ]; do echo "line $i"; i=$((i+1)); done'
    said(workshop, script, "--log", "log", "--log-max", "1K", "--log-keep", "2")
    assert sorted(path.name for path in workshop.directory.glob("log*")) == ["log", "log.1", "log.2"]
    assert (workshop.directory / "log").read_text().endswith("line 999\n")
    said(workshop, script, "--log", "none", "--log-max", "1K", "--log-keep", "0")
    assert [path.name for path in workshop.directory.glob("none*")] == ["none"]


def test_an_application_outlives_the_reader_of_its_log(workshop: Workshop) -> None:
    """sam-run is killed: no SIGPIPE ends the orphan, whatever it writes."""
    process = workshop.shell(f"{STAMP}; while :; do echo tick; echo 1 $$ >> ticks; sleep 0.05; done", "--log", "log")
    pid = workshop.started(1).pid
    workshop.until_stamps("ticks")
    process.kill()
    process.wait()
    seen = len(workshop.stamps("ticks"))
    workshop.until_stamps("ticks", seen + 3)
    os.kill(pid, signal.SIGKILL)


def log_file(path: Path, size: int, keep: int = 2, *, stamped: bool = False) -> tuple[LogFile, list[str]]:
    complaints: list[str] = []
    return LogFile(LogPolicy(path, size, keep, stamped), complaints.append), complaints


NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def test_a_line_that_is_longer_than_a_file_is_cut(tmp_path: Path) -> None:
    file, _ = log_file(tmp_path / "log", 10, 9)
    file.write(b"x" * 25 + b"\nshort\n", NOW)
    file.close()
    parts = [
        (tmp_path / name).read_bytes() for name in ("log.3", "log.2", "log.1", "log") if (tmp_path / name).exists()
    ]
    assert b"".join(parts) == b"x" * 25 + b"\nshort\n" and all(len(part) <= 10 for part in parts)


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    file, _ = log_file(tmp_path / "log", 1000, stamped=True)
    file.write(b"one\n", NOW)
    (tmp_path / "log").rename(tmp_path / "old")
    file.look()
    file.write(b"two\n", NOW)
    (tmp_path / "log").unlink()
    file.look()
    file.look()
    file.write(b"three\n", NOW)
    file.close()
    assert (tmp_path / "old").read_text() == "2026-01-02T03:04:05.678Z one\n"
    assert (tmp_path / "log").read_text() == "2026-01-02T03:04:05.678Z three\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_once_and_ends_nothing() -> None:
    file, complaints = log_file(Path("/dev/full"), 1000)
    for _ in range(3):
        file.write(b"line\n", NOW)
    file.close()
    assert complaints == ["log /dev/full: No space left on device; output is dropped"]


# -- hooks


def test_hooks_are_told_of_turns_in_their_order(workshop: Workshop) -> None:
    hook = 'echo "$TOTEMD_SAM_STATE $TOTEMD_SAM_INSTANCE ${TOTEMD_SAM_EXIT_CODE-}" >> turns'
    process = workshop.shell(
        "exit 3", "--on", f"any={hook}", "--on", "fatal=echo given up >> turns", "--backoff", "1", "--max-restarts", "1"
    )
    assert workshop.finish(process) == 124
    turns = (workshop.directory / "turns").read_text().splitlines()
    assert turns[:2] == ["starting 1 ", "running 1 "]
    assert turns[-2:] == ["fatal 2 3", "given up"]
    assert "backoff 1 3" in turns and turns.count("running 2 ") == 1


def test_a_hook_that_hangs_or_fails_holds_up_nothing(workshop: Workshop) -> None:
    process = workshop.shell(
        f'{STAMP}; [ "$TOTEMD_SAM_INSTANCE" -lt 3 ] && exit 1; exec sleep 1000',
        # The first one hangs; the time is long enough for a shell to be started on a busy machine.
        *("--on", "running=echo 1 $$ >> hooks; [ -e grandchild ] || { sleep 1000 & echo $! > grandchild; wait; }"),
        *("--on-timeout", "2000"),
        *("--on", "starting=echo oh no; exit 4", "--backoff", "0"),
    )
    workshop.started(3)
    wait_until(lambda: len(workshop.stamps("hooks")) == 3, PATIENCE_SECONDS, lambda: workshop.errors)
    wait_until(lambda: "exited with code 4 (oh no)" in workshop.errors, PATIENCE_SECONDS, lambda: workshop.errors)
    assert "took longer than 2 s and was killed" in workshop.errors
    workshop.until_gone([int((workshop.directory / "grandchild").read_text())])
    assert process.poll() is None


def test_a_hook_is_run_as_whom_and_where_the_application_is(workshop: Workshop) -> None:
    (workshop.directory / "inner").mkdir()
    process = workshop.shell(
        "exit 0", *ONCE, "--directory", "inner", "--env", "X=5", "--on", 'stopped=echo "$X $TOTEMD_SAM_NAME" > told',
        "--name", "web",
    )  # fmt: skip
    assert workshop.finish(process) == 0
    assert (workshop.directory / "inner" / "told").read_text() == "5 web\n"


def test_the_main_process_is_named_to_hooks(workshop: Workshop) -> None:
    program = "import json, os; print(json.dumps({'pid': os.getpid()}), flush=True); import signal; signal.pause()"
    process = workshop.sam_run(
        "--on", "running=echo 1 $TOTEMD_SAM_MAIN_PID >> mains", "--", sys.executable, "-c", program
    )
    assert process.stdout is not None
    pid = json.loads(process.stdout.readline())["pid"]
    workshop.until_stamps("mains")
    assert workshop.stamps("mains")[0].pid == pid
