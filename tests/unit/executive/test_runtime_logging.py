"""Log lines: their shape, who gets them, and what a peer's bytes cannot do to them."""

from __future__ import annotations

import io
import json
import logging as standard
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from totemd.executive.config.model import LoggingOptions, SubsystemLogging
from totemd.executive.runtime import lines, logging
from totemd.executive.runtime.logging import Level, configure, get_logger
from totemd.ipc.errors import OperationFailed

QUIET = LoggingOptions(to_syslog=False)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Whatever a test configures is gone after it."""
    root = standard.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    configure(LoggingOptions(to_stderr=False, to_syslog=False))
    root.handlers[:] = handlers
    root.setLevel(level)


def said(options: LoggingOptions, speak: Callable[[], None], environment: dict[str, str] | None = None) -> list[str]:
    """The lines that reach stderr."""
    stream = io.StringIO()
    configure(options, stderr=stream, environment=environment or {})
    speak()
    return stream.getvalue().splitlines()


def test_the_line_has_corosyncs_shape() -> None:
    def speak() -> None:
        get_logger("totem").notice("A new membership (1.2f) was formed. Members joined: 2 3", took_ms=12)

    (line,) = said(QUIET, speak)
    host = re.escape(socket.gethostname())
    stamp = r"[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d\.\d{3}"
    assert re.fullmatch(
        rf"{stamp} \[{os.getpid()}\] {host} totemd notice  \[TOTEM \] "
        r"A new membership \(1\.2f\) was formed\. Members joined: 2 3 took_ms=12",
        line,
    )


@pytest.mark.parametrize(
    ("timestamp", "begin"),
    [("off", r"\["), ("on", r"\w{3} \d\d [\d:]{8} \["), ("hires", r"\w{3} \d\d [\d:]{8}\.\d{3} \[")],
)
def test_timestamps(timestamp: str, begin: str) -> None:
    (line,) = said(LoggingOptions(to_syslog=False, timestamp=timestamp), lambda: get_logger().info("x"))
    assert re.match(begin, line)


def test_file_line_and_function() -> None:
    options = LoggingOptions(to_syslog=False, fileline=True, function_name=True)
    (line,) = said(options, lambda: get_logger().info("here"))
    assert re.search(r"\] test_runtime_logging\.py:\d+ <lambda>\(\) here$", line)


WORDS = {
    **{"crit": "crit", "err": "error", "warning": "warning"},
    **{"notice": "notice", "info": "info", "debug": "debug", "trace": "trace"},
}


@pytest.mark.parametrize(("method", "word"), WORDS.items())
def test_levels_and_their_words(method: str, word: str) -> None:
    options = LoggingOptions(to_syslog=False, debug="trace")
    (line,) = said(options, lambda: getattr(get_logger("cpg"), method)("x"))
    assert line.split()[6] == word


@pytest.mark.parametrize(
    ("options", "heard"),
    [
        (LoggingOptions(to_syslog=False), ["notice", "info"]),
        (LoggingOptions(to_syslog=False, logfile_priority="notice"), ["notice"]),
        (LoggingOptions(to_syslog=False, logfile_priority="err"), []),
        (LoggingOptions(to_syslog=False, logfile_priority="err", debug="on"), ["notice", "info", "debug"]),
        (LoggingOptions(to_syslog=False, debug="trace"), ["notice", "info", "debug", "trace"]),
        (LoggingOptions(to_syslog=False, to_stderr=False), []),
    ],
)
def test_priorities(options: LoggingOptions, heard: list[str]) -> None:
    def speak() -> None:
        for name in ("notice", "info", "debug", "trace"):
            getattr(get_logger(), name)(name)

    assert [line.split()[-1] for line in said(options, speak)] == heard


def test_a_subsystem_of_its_own() -> None:
    def speak() -> None:
        get_logger("totem").debug("loud")
        get_logger("cpg").debug("unheard")
        get_logger("sam").err("muted")

    options = LoggingOptions(
        to_syslog=False,
        subsystems=(SubsystemLogging("SAM", to_stderr=False), SubsystemLogging("TOTEM", debug="on")),
    )
    assert [line.split()[-1] for line in said(options, speak)] == ["loud"]
    assert [line.split()[-1] for line in said(QUIET, speak)] == ["muted"], "a reload takes it back"


def test_a_loggers_context_and_arguments() -> None:
    log = get_logger("totem").bind(peer=3)
    (line,) = said(QUIET, lambda: log.info("%d of %s", 2, "x", link=0))
    assert line.endswith("2 of x peer=3 link=0")


def test_what_a_peer_sends_cannot_look_like_another_line() -> None:
    def speak() -> None:
        get_logger().warning("from \x1b[2Jpeer\nJan 01", name="a b", empty="", raw=b"\x00\n", equals="a=b")

    (line,) = said(QUIET, speak)
    assert line.endswith(r"""from \x1b[2Jpeer\nJan 01 name='a b' empty='' raw=b'\x00\n' equals='a=b'""")


def test_lists_are_read_by_people() -> None:
    (line,) = said(QUIET, lambda: get_logger().notice("ring", members=(1, 3), alone=[7]))
    assert line.endswith("ring members='1 3' alone=7")


def test_tracebacks_follow_in_the_same_shape() -> None:
    def speak() -> None:
        try:
            raise KeyError("gone")
        except KeyError:
            get_logger("sam").err("a bug", exc_info=True)

    found = said(QUIET, speak)
    assert found[0].endswith("a bug")
    assert found[-1].endswith("KeyError: 'gone'")
    assert all("[SAM   ]" in line for line in found)


def test_lines_of_libraries_belong_to_the_process() -> None:
    stream = io.StringIO()
    configure(QUIET, "TOTEM", stderr=stream)
    standard.getLogger("asyncio").warning("slow callback")
    assert "warning [TOTEM ] slow callback" in stream.getvalue()


def test_json_for_programs() -> None:
    def speak() -> None:
        get_logger("totem").notice("ring.installed", members=(1, 2), raw=b"\xff", other=Path("/x"))

    (line,) = said(QUIET, speak, {"TOTEMD_LOG_FORMAT": "json"})
    told = json.loads(line)
    assert {key: told[key] for key in ("level", "subsystem", "event", "members", "other", "pid")} == {
        "level": "notice",
        "subsystem": "TOTEM",
        "event": "ring.installed",
        "members": [1, 2],
        "other": "/x",
        "pid": os.getpid(),
    }


def test_no_value_of_a_json_line_is_lost() -> None:
    """`Service engine loaded: cpg pid=7`: whose pid is it?"""

    values = {key: f"its {key}" for key in lines.JSON_KEYS - {"event", "subsystem"}}

    def speak() -> None:
        get_logger("totem").notice("loaded", **values)

    (line,) = said(QUIET, speak, {"TOTEMD_LOG_FORMAT": "json"})
    told = json.loads(line)
    assert {key: told[f"value_{key}"] for key in values} == values
    assert (told["pid"], told["level"], told["event"]) == (os.getpid(), "notice", "loaded")


def test_the_file_is_appended_to_and_reopened_after_it_was_moved(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("before\n")
    configure(LoggingOptions(to_stderr=False, to_syslog=False, to_logfile=True, logfile=str(file)))
    get_logger().info("one")
    file.rename(tmp_path / "log.1")
    get_logger().info("two")
    assert [line.split()[-1] for line in (tmp_path / "log.1").read_text().splitlines()] == ["before", "one"]
    assert [line.split()[-1] for line in file.read_text().splitlines()] == ["two"]


def test_a_file_that_cannot_be_opened_leaves_everything_as_it_was(tmp_path: Path) -> None:
    stream = io.StringIO()
    configure(QUIET, stderr=stream)
    with pytest.raises(OperationFailed, match=r"logging\.logfile .*nowhere/log: cannot be opened: No such file"):
        configure(LoggingOptions(to_logfile=True, logfile=str(tmp_path / "nowhere" / "log")))
    get_logger().info("still here")
    assert "still here" in stream.getvalue()


def test_syslog_gets_priority_facility_and_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        monkeypatch.setattr(logging, "SYSLOG_SOCKET", str(path))
        configure(LoggingOptions(to_stderr=False, syslog_facility="local3", syslog_priority="notice"))
        log = get_logger("cpg")
        log.info("too low")
        log.notice("enough", n=1)
        assert listener.recv(1000).decode() == f"<{(19 << 3) | 5}>totemd[{os.getpid()}]:   [CPG   ] enough n=1"


def test_a_syslog_that_does_not_read_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        handler = lines.SyslogHandler("daemon", str(path))
        record = standard.LogRecord("x", Level.INFO, "", 1, "y" * 1000, None, None)
        for _ in range(2000):
            handler.emit(record)
        handler.close()


def test_files_of_an_earlier_configuration_are_closed(tmp_path: Path) -> None:
    def open_logs() -> list[str]:
        links = (os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))
        return sorted(Path(link).name for link in links if Path(link).parent == tmp_path)

    held: list[standard.Handler] = []
    """Not closed just because nobody has them any more."""

    def say_into(*names: str) -> None:
        common, cpg = (str(tmp_path / name) for name in names)
        override = SubsystemLogging("CPG", to_logfile=True, logfile=cpg)
        configure(msgspec.structs.replace(QUIET, to_logfile=True, logfile=common, subsystems=(override,)))
        for logger in (standard.getLogger(), standard.getLogger("totemd.CPG")):
            held.extend(logger.handlers)

    say_into("a", "b")
    assert open_logs() == ["a", "b"]
    say_into("c", "d")
    assert open_logs() == ["c", "d"]
    configure(QUIET)
    assert open_logs() == []


def test_a_broken_stderr_is_no_accident() -> None:
    stream = io.StringIO()
    configure(QUIET, stderr=stream)
    stream.close()
    get_logger().err("nobody hears this")


def test_rate_limit_says_how_much_was_not_said() -> None:
    limit = logging.RateLimited(seconds=10, burst=2)
    assert [limit.admit(now) for now in (0, 1, 2, 3, 9.9)] == [0, 0, None, None, None]
    assert limit.admit(10) == 3
    assert limit.admit(11) == 0
    assert limit.admit(12) is None
    assert limit.admit(100) == 1
