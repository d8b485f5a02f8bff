"""Log lines: corosync's levels, subsystems and line shape; structlog in front, the standard library's handlers behind.

```
Mmm DD HH:MM:SS.mmm [PID] HOST totemd LEVEL   [SUBSYS] text key=value …        stderr, log file
totemd[PID]:   [SUBSYS] text key=value …                                       syslog
```

Lines look the same for people, files and journals, because what operators grep for is text; a program that wants
structure sets `TOTEMD_LOG_FORMAT=json` and gets one JSON object per line instead on stderr and in the file.

| level | what is said there |
| --- | --- |
| crit | the node cannot go on, or must not |
| err | something failed and stays failed until somebody acts |
| warning | it goes on, but somebody should look |
| notice | what an operator wants to read later: rings, restarts, reloads |
| info | what helps to understand a notice |
| debug, trace | decisions and packets; off unless `logging.debug` says so |
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from ...ipc.errors import OperationFailed
from ..config.model import LoggingOptions
from .lines import MAIN, PROGRAM, SYSLOG_SOCKET, JsonFormatter, Level, SyslogHandler, TextFormatter
from .rate import RateLimited

__all__ = ["FORMAT_VARIABLE", "MAIN", "Level", "Logger", "RateLimited", "configure", "get_logger"]

FORMAT_VARIABLE = "TOTEMD_LOG_FORMAT"
"""Environment variable: `text` (default) or `json`."""


_OUR_FORMATTERS = (TextFormatter, JsonFormatter)


class Logger(structlog.BoundLoggerBase):
    """A structlog logger with corosync's levels as far as anything is said there; `log.bind(…)` adds context."""

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


class _Sinks:
    """The handlers of one configuration: one set for all, and one for each subsystem that has options of its own."""

    def __init__(self, subsystem: str, stderr: TextIO, environment: Mapping[str, str]) -> None:
        self._subsystem = subsystem
        self._stderr = stderr
        self._json = environment.get(FORMAT_VARIABLE, "") == "json"
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
            handler = SyslogHandler(options.syslog_facility, SYSLOG_SOCKET)
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
    replaced = _installed()
    _clear_overrides()
    for name, (handlers, propagate) in plan.items():
        logger = logging.getLogger(name or None)
        logger.handlers[:] = handlers
        logger.propagate = propagate
        logger.setLevel(min((handler.level for handler in handlers), default=Level.EMERG + 1))
    for handler in replaced:
        handler.close()


def _installed() -> set[logging.Handler]:
    """Handlers of an earlier configuration, known by their formatters."""
    loggers = (logging.getLogger(), *_subsystems())
    return {each for logger in loggers for each in logger.handlers if isinstance(each.formatter, _OUR_FORMATTERS)}


def _subsystems() -> Iterator[logging.Logger]:
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.startswith(f"{PROGRAM}.") and isinstance(logger, logging.Logger):
            yield logger


def _clear_overrides() -> None:
    """Loggers of subsystems go back to the common handlers."""
    for logger in _subsystems():
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
