"""The command line: what it means, and what is refused."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from totemd.executive.runtime.version import VERSION
from totemd.ipc.messages.sam import APP_NAME_LENGTH_MAX, AppState
from totemd.sam.events import Ending, Report, Why
from totemd.sam.option_table import SECTIONS
from totemd.sam.options import OPTIONS, RunOptions, automatic_name, run_options
from totemd.sam.policy import BackOff, Intensity, Recovery
from totemd.sam.run import command
from totemd.sam.wording import report_text, signal_name


def parse(*words: str) -> RunOptions:
    parsed: list[RunOptions] = []

    @click.command(context_settings={"allow_interspersed_args": False})
    def parser(**values: Any) -> None:
        parsed.append(run_options(values))

    for option in OPTIONS:
        parser = option(parser)
    parser.main(list(words), standalone_mode=False)
    return parsed[0]


def refusal(*words: str) -> str:
    with pytest.raises(click.UsageError) as caught:
        parse(*words)
    return caught.value.format_message()


def test_defaults() -> None:
    options = parse("--run-dir", "/somewhere", "--", "/usr/bin/app", "--name", "not-ours")
    assert options.command == ("/usr/bin/app", "--name", "not-ours")
    assert not options.name_is_explicit and options.name.startswith("app-")
    assert options.run_dir == Path("/somewhere")
    policy = options.policy
    assert policy.recovery is Recovery.RESTART
    assert policy.backoff == BackOff(0.1, 2, 2, 0.1)
    assert policy.intensity == Intensity(20, 60)
    assert (policy.interval, policy.start_period, policy.stop_timeout) == (2, 1, 10)
    assert (policy.warn_signal, policy.stop_signal) == (signal.SIGTERM, signal.SIGTERM)


def test_the_applications_options_need_no_dashes_before_them() -> None:
    assert parse("--name", "web", "app", "--policy", "quit").command == ("app", "--policy", "quit")


def test_every_option() -> None:
    words = (
        "--name web --policy quit --interval 250 --warn-signal USR1 --start-period 5 --backoff 10 --backoff-factor 3"
    )
    more = "--backoff-max 400 --backoff-jitter 0 --max-restarts unlimited --within 1.5 --stop-signal 2"
    options = parse(
        *words.split(), *more.split(), "--stop-timeout", "7", "--require-sam", "-q", "--run-dir", "/r", "app"
    )
    assert (options.name, options.name_is_explicit, options.interval_ms) == ("web", True, 250)
    assert options.policy.backoff == BackOff(0.01, 3, 0.4, 0)
    assert options.policy.intensity == Intensity(None, 1.5)
    assert (options.policy.warn_signal, options.policy.stop_signal) == (signal.SIGUSR1, signal.SIGINT)
    assert options.require_sam and options.quiet


@pytest.mark.parametrize("word", ["TERM", "SIGTERM", "sigterm", "15"])
def test_signals_as_kill_takes_them(word: str) -> None:
    assert parse("--stop-signal", word, "app").policy.stop_signal == signal.SIGTERM


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--stop-signal", "NONE", "app"], "TERM or SIGTERM"),
        (["--stop-signal", "0", "app"], "is no signal"),
        (["--max-restarts", "few", "app"], "'unlimited'"),
        (["--within", "0", "app"], "--within"),
        (["--interval", "soon", "app"], "'--interval': 'soon' is no time that fits; 0 to 2147483647 ms"),
        (["--stop-timeout", "-1", "app"], "'-1' is no time that fits; 0 to 2147483647 ms would be accepted"),
        (["--yield-timeout", "3600001", "app"], "0 to 3600000 ms would be accepted"),
        (["--health-failures", "0", "app"], "'0' is no number that fits; 1 or more would be accepted"),
        (["--log-keep", "many", "app"], "'many' is no number that fits; 0 to 1000 would be accepted"),
        (["--within", "nan", "app"], "'nan' is no number that fits; more than 0 to 1000000000 would be accepted"),
        (["--backoff-factor", "twice", "app"], "'twice' is no number that fits; 1 to 1000 would be accepted"),
        (["--log-times", "app"], "--log or --log-stderr"),
        (["--name", "a b", "app"], "letters, digits"),
        (["--name", "", "app"], "1 to 64"),
        (["--name", "x" * 65, "app"], "1 to 64"),
        (["--policy", "maybe", "app"], "restart or quit would be accepted"),
        (["--nmae", "web", "app"], "--name"),
        ([], "COMMAND"),
    ],
)
def test_refusals_say_what_would_be_accepted(words: list[str], says: str) -> None:
    assert says in refusal(*words)


@pytest.mark.parametrize(
    ("command", "name"),
    [("/usr/bin/app", "app-7"), ("./my app!", "my_app_-7"), (".hidden", "_.hidden-7"), ("/", "_-7"), ("ä", "_-7")],
)
def test_automatic_names_are_names(command: str, name: str) -> None:
    assert automatic_name(command, 7) == name


def test_a_long_automatic_name_keeps_its_number() -> None:
    name = automatic_name("x" * 300, 4194304)
    assert len(name) == APP_NAME_LENGTH_MAX and name.endswith("x-4194304")


def test_a_run_directory_need_not_be_listable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mode is 0711 when `uidgid` rules let other users in."""
    monkeypatch.setattr("os.access", lambda path, mode, **_: mode != os.R_OK)
    assert parse("--run-dir", str(tmp_path), "app").run_dir == tmp_path


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(command, ["--version"]).output == f"sam-run {VERSION}\n"


def test_help_names_the_exit_codes() -> None:
    text = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    for said in ("124 it failed too often", "125 sam-run failed", "126 COMMAND cannot be run", "127 COMMAND not found"):
        assert said in text


def test_help_has_each_option_once_in_a_section() -> None:
    text = CliRunner().invoke(command, ["--help"], terminal_width=110).output
    lines = [line.split()[0].rstrip(",") for line in text.splitlines() if line.startswith("  -")]
    assert sorted(lines) == sorted({*lines}) and len(lines) > 40
    assert all(f"{section}:" in text for section in SECTIONS) and "2147483647" not in text


def test_every_option_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "sam-run.md").read_text()
    missing = [
        name for each in command.params for name in each.opts if name.startswith("--") and f"`{name}" not in text
    ]
    assert missing == []


def test_signals_without_a_name_are_numbers() -> None:
    assert signal_name(signal.SIGTERM) == "SIGTERM"
    assert signal_name(signal.SIGRTMIN + 5) == f"signal {signal.SIGRTMIN + 5}"


@pytest.mark.parametrize("why", Why)
@pytest.mark.parametrize("state", [AppState.RUNNING, AppState.CLEARING, AppState.BACKOFF, AppState.STOPPING])
def test_every_report_can_be_worded(why: Why, state: AppState) -> None:
    assert "None" not in report_text(Report(state, 2, 0, why, Ending(signal=9), 0.5, "words"))
