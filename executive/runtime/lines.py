"""What a log record looks like on its way out: corosync's levels and line shape, JSON, syslog datagrams."""

from __future__ import annotations

import enum
import logging
import logging.handlers
import socket
import time
from collections.abc import Mapping

import msgspec

from ..config.model import LoggingOptions

PROGRAM = "totemd"
"""What a line calls the program."""

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


def _word(value: object) -> str:
    """A value as it stands in a line: bare when nobody could misread it."""
    if isinstance(value, bytes | bytearray | memoryview):
        return repr(bytes(value))
    text = " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
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


JSON_KEYS = frozenset({"time", "level", "subsystem", "pid", "host", "event", "exception"})
"""What every JSON line may hold; a value that has such a name itself is found under `value_NAME`."""


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `time` (Unix), `level`, `subsystem`, `pid`, `host`, `event`, and the line's values.

    The `pid` is that of the process that speaks; a line about another process has that one's as `value_pid`.
    """

    def __init__(self, subsystem: str) -> None:
        super().__init__()
        self._subsystem = subsystem
        self._host = socket.gethostname()

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        values: Mapping[str, object] = getattr(record, "values", {})
        line: dict[str, object] = {
            "time": record.created,
            "level": _level_word(record),
            "subsystem": getattr(record, "subsystem", self._subsystem),
            "pid": record.process,
            "host": self._host,
            "event": record.getMessage(),
            **{f"value_{key}" if key in JSON_KEYS else key: value for key, value in values.items()},
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

    def __init__(self, facility: str, path: str) -> None:
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
