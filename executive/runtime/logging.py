"""Log lines: corosync's levels, subsystems and line shape; structlog in front, the standard library's handlers behind.

```
Mmm DD HH:MM:SS.mmm [PID] HOST totemd LEVEL   [SUBSYS] text key=value …        stderr, log file
totemd[PID]:   [SUBSYS] text key=value …                                       syslog
```

Lines look the same for people, files and journals, because what operators grep for is text; a program that wants
structure sets `TOTEMD_LOG_FORMAT=json` and gets one JSON object per line instead on stderr and in the file.

| level | what is said there |
| --- | --- |
| emerg, alert, crit | the node cannot go on, or must not |
| err | something failed and stays failed until somebody acts |
| warning | it goes on, but somebody should look |
| notice | what an operator wants to read later: rings, restarts, reloads |
| info | what helps to understand a notice |
| debug, trace | decisions and packets; off unless `logging.debug` says so |
"""

from __future__ import annotations

import enum
import logging
import logging.handlers
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

import msgspec
import structlog

from ...ipc.errors import OperationFailed
from ..config.model import LoggingOptions

PROGRAM = "totemd"
"""What a line calls the program."""

FORMAT_VARIABLE = "TOTEMD_LOG_FORMAT"
"""Environment variable: `text` (default) or `json`."""

SYSLOG_SOCKET = "/dev/log"
"""Where the system's logger listens."""

MAIN = "MAIN"
"""The subsystem of lines that belong to no other."""


class Level(enum.IntEnum):
    """corosync's levels on the standard library's scale."""

    TRACE = 5
    DEBUG = logging.DEBUG
    INFO = logging.INFO
    NOTICE = 25
    WARNING = logging.WARNING
    ERR = logging.ERROR
    CRIT = logging.CRITICAL
    ALERT = 60
    EMERG = 70

    @property
    def word(self) -> str:
        """As corosync's lines spell it."""
        return "error" if self is Level.ERR else self.name.lower()


_SYSLOG_PRIORITIES = {
    Level.TRACE: 7,
    Level.DEBUG: 7,
    Level.INFO: 6,
    Level.NOTICE: 5,
    Level.WARNING: 4,
    Level.ERR: 3,
    Level.CRIT: 2,
    Level.ALERT: 1,
    Level.EMERG: 0,
}


class Logger(structlog.BoundLoggerBase):
    """A structlog logger with corosync's levels; `log.bind(…)` makes one with more context.

    The names of the standard library (`error`, `critical`, `exception`) are there too.
    """

    def _say(self, level: Level, event: str, args: tuple[object, ...], values: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            if args:
                event = event % args
            positional, named = self._process_event(level.name, event, values)
            self._logger.log(level, *positional, stacklevel=3, **named)

    def trace(self, event: str, *args: object, **values: Any) -> None:
        self._say(Level.TRACE, event, args, values)

    def debug(self, event: str, *args: object, **values: Any) -> None:
        self._say(Level.DEBUG, event, args, values)

    def info(self, event: str, *args: object, **values: Any) -> None:
        self._say(Level.INFO, event, args, values)

    def notice(self, event: str, *args: object, **values: Any) -> None:
        self._say(Level.NOTICE, event, args, values)

    def warning(self, event: str, *args: object, **values: Any) -> None:
        self._say(Level.WARNING, event, args, values)

    def err(self, event: str, *args: object, **values: Any) -> None:
        self._say(Level.ERR, event, args, values)

    def crit(self, event: str, *args: object, **values: Any) -> None:
        self._say(Level.CRIT, event, args, values)

    def alert(self, event: str, *args: object, **values: Any) -> None:
        self._say(Level.ALERT, event, args, values)

    def emerg(self, event: str, *args: object, **values: Any) -> None:
        self._say(Level.EMERG, event, args, values)

    def error(self, event: str, *args: object, **values: Any) -> None:
        self._say(Level.ERR, event, args, values)

    def critical(self, event: str, *args: object, **values: Any) -> None:
        self._say(Level.CRIT, event, args, values)

    def exception(self, event: str, *args: object, **values: Any) -> None:
        """An error with the traceback of the exception that is being handled."""
        self._say(Level.ERR, event, args, {"exc_info": True, **values})

    def is_enabled(self, level: Level) -> bool:
        """Whether a line of this level goes anywhere; asks before an expensive text is made."""
        return bool(self._logger.isEnabledFor(level))


def get_logger(subsystem: str = MAIN, **context: Any) -> Logger:
    """The logger of a subsystem: MAIN, TOTEM, CPG, SAM, QUORUM, VOTEQ, CFG, SERV, SYNC …"""
    subsystem = subsystem.upper()
    return cast(
        Logger,
        structlog.wrap_logger(
            logging.getLogger(f"{PROGRAM}.{subsystem}"),
            processors=[_hand_over],
            wrapper_class=Logger,
            subsystem=subsystem,
            **context,
        ).bind(),  # bound once, so that a line that is not wanted costs next to nothing
    )


def _hand_over(_logger: object, _method: str, event: structlog.typing.EventDict) -> tuple[tuple[str], dict[str, Any]]:
    """structlog's last processor: the arguments of the standard library's `Logger.log`."""
    text, subsystem = str(event.pop("event", "")), event.pop("subsystem", MAIN)
    exc_info = event.pop("exc_info", None)
    return (text,), {"exc_info": exc_info, "extra": {"subsystem": subsystem, "values": dict(event)}}


def _word(value: object) -> str:
    """A value as it stands in a line: bare when nobody could misread it."""
    if isinstance(value, bytes | bytearray | memoryview):
        return repr(bytes(value))
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(" \"'=") else repr(text)


def _visible(text: str) -> str:
    """The text on one line: what a peer sent must not look like another line, nor steer a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class TextFormatter(logging.Formatter):
    """corosync's shape.  A traceback follows line by line, each in the same shape."""

    def __init__(self, options: LoggingOptions, subsystem: str, syslog: bool = False) -> None:
        super().__init__()
        self._options = options
        self._subsystem = subsystem
        self._syslog = syslog
        self._host = socket.gethostname()

    def format(self, record: logging.LogRecord) -> str:
        """The line, or the lines when there is a traceback."""
        head = self._head(record)
        values: Mapping[str, object] = getattr(record, "values", {})
        words = [_visible(record.getMessage()), *(f"{key}={_word(value)}" for key, value in values.items())]
        lines = [head + " ".join(words)]
        if record.exc_info:
            lines += [head + _visible(line) for line in self.formatException(record.exc_info).splitlines()]
        return "\n".join(lines)

    def _head(self, record: logging.LogRecord) -> str:
        subsystem = f"[{getattr(record, 'subsystem', self._subsystem):<6}] {self._place(record)}"
        if self._syslog:
            return f"{PROGRAM}[{record.process}]:   {subsystem}"
        return f"{self._time(record)}[{record.process}] {self._host} {PROGRAM} {_level_word(record):<7} {subsystem}"

    def _time(self, record: logging.LogRecord) -> str:
        if self._options.timestamp == "off":
            return ""
        stamp = time.strftime("%b %d %H:%M:%S", time.localtime(record.created))
        return f"{stamp}.{int(record.msecs):03d} " if self._options.timestamp == "hires" else f"{stamp} "

    def _place(self, record: logging.LogRecord) -> str:
        file = f"{record.filename}:{record.lineno} " if self._options.fileline else ""
        function = f"{record.funcName}() " if self._options.function_name else ""
        return file + function


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `time` (Unix), `level`, `subsystem`, `pid`, `host`, `event`, and the line's values."""

    def __init__(self, subsystem: str) -> None:
        super().__init__()
        self._subsystem = subsystem
        self._host = socket.gethostname()

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        values: Mapping[str, object] = getattr(record, "values", {})
        line: dict[str, object] = {
            **values,
            "time": record.created,
            "level": _level_word(record),
            "subsystem": getattr(record, "subsystem", self._subsystem),
            "pid": record.process,
            "host": self._host,
            "event": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode("utf-8", "replace")


def _level_word(record: logging.LogRecord) -> str:
    try:
        return Level(record.levelno).word
    except ValueError:
        return record.levelname.lower()


class SyslogHandler(logging.Handler):
    """Datagrams to the system's logger.

    Unlike the standard library's handler it never blocks: a logger that has stopped reading must not stop a ring.
    """

    def __init__(self, facility: str, path: str = SYSLOG_SOCKET) -> None:
        super().__init__()
        self._facility = logging.handlers.SysLogHandler.facility_names[facility] << 3
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Send it; a line that nobody takes is lost."""
        try:
            priority = _SYSLOG_PRIORITIES[Level(record.levelno)]
        except ValueError:
            priority = _SYSLOG_PRIORITIES[Level.WARNING]
        for line in self.format(record).splitlines():
            try:
                self._socket.sendto(f"<{self._facility | priority}>{line}".encode("utf-8", "replace"), self._path)
            except OSError:
                return

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
        super().close()


class _Sinks:
    """The handlers of one configuration; subsystems that say the same share them."""

    def __init__(self, subsystem: str, stderr: TextIO, environment: Mapping[str, str]) -> None:
        self._subsystem = subsystem
        self._stderr = stderr
        self._json = environment.get(FORMAT_VARIABLE, "") == "json"
        self._files: dict[str, logging.Handler] = {}
        self.all: list[logging.Handler] = []

    def handlers(self, options: LoggingOptions) -> Iterator[logging.Handler]:
        """The handlers for lines under these options.

        Raises:
            OperationFailed: the log file cannot be opened.
        """
        if options.to_stderr:
            yield self._keep(logging.StreamHandler(self._stderr), options, options.logfile_priority)
        if options.to_logfile:
            yield self._keep(self._open(options.logfile), options, options.logfile_priority)
        if options.to_syslog and Path(SYSLOG_SOCKET).exists():
            handler = SyslogHandler(options.syslog_facility)
            yield self._keep(handler, options, options.syslog_priority, syslog=True)

    def _open(self, path: str) -> logging.Handler:
        try:
            # Looks at the file's inode before each line, so logrotate needs neither copytruncate nor a signal.
            return logging.handlers.WatchedFileHandler(path, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise OperationFailed(f"logging.logfile {path}: cannot be opened: {error.strerror}") from None

    def _keep(
        self, handler: logging.Handler, options: LoggingOptions, priority: str, syslog: bool = False
    ) -> logging.Handler:
        if self._json and not syslog:
            handler.setFormatter(JsonFormatter(self._subsystem))
        else:
            handler.setFormatter(TextFormatter(options, self._subsystem, syslog))
        handler.setLevel(_threshold(options, priority))
        self.all.append(handler)
        return handler


def _threshold(options: LoggingOptions, priority: str) -> Level:
    """corosync: `debug` beats the priorities."""
    match options.debug:
        case "on":
            return Level.DEBUG
        case "trace":
            return Level.TRACE
        case _:
            return Level[priority.upper()]


_current: list[logging.Handler] = []


def configure(
    options: LoggingOptions,
    subsystem: str = MAIN,
    *,
    stderr: TextIO | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Send this process's lines where *options* says; called again after a reload, which also reopens the file.

    *subsystem* is what lines of libraries (asyncio …) are counted to.

    Raises:
        OperationFailed: a log file cannot be opened; everything stays as it was.
    """
    global _current
    sinks = _Sinks(subsystem, stderr or sys.stderr, os.environ if environment is None else environment)
    plan: dict[str, tuple[list[logging.Handler], bool]] = {}
    try:
        plan[""] = list(sinks.handlers(options)), True
        for override in options.subsystems:
            effective = options.effective_for(override.subsys)
            plan[f"{PROGRAM}.{override.subsys}"] = list(sinks.handlers(effective)), False
    except OperationFailed:
        for handler in sinks.all:
            handler.close()
        raise
    logging.getLogger("asyncio").setLevel(logging.INFO)  # its debug lines are about asyncio
    logging.raiseExceptions = False  # a full disk must not turn into tracebacks on stderr
    _clear_overrides()
    for name, (handlers, propagate) in plan.items():
        logger = logging.getLogger(name or None)
        logger.handlers[:] = handlers
        logger.propagate = propagate
        logger.setLevel(min((handler.level for handler in handlers), default=Level.EMERG + 1))
    for handler in _current:
        handler.close()
    _current = sinks.all


def _clear_overrides() -> None:
    """Loggers of subsystems go back to the common handlers."""
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.startswith(f"{PROGRAM}.") and isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.NOTSET)


class RateLimited:
    """Which of many equal lines are said: *burst* in each *seconds*; the next one tells how many were not.

    ```
    if (unsaid := limit.admit(now)) is not None:
        log.warning("Invalid digest", peer=peer, unsaid=unsaid)
    ```
    """

    def __init__(self, seconds: float, burst: int = 1) -> None:
        self._seconds = seconds
        self._burst = burst
        self._began = float("-inf")
        self._said = 0
        self._unsaid = 0

    def admit(self, now: float) -> int | None:
        """None: say nothing.  Else say it; the number counts the lines held back since the last one said."""
        if now - self._began >= self._seconds:
            self._began, self._said = now, 0
        if self._said >= self._burst:
            self._unsaid += 1
            return None
        self._said += 1
        unsaid, self._unsaid = self._unsaid, 0
        return unsaid
