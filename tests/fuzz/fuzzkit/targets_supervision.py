"""What applications say to those who supervise them in formats that are not ours."""

from __future__ import annotations

from collections.abc import Iterator

from fuzzkit.target import Target
from totemd.sam.checks import status_problem
from totemd.sam.notify import EXTEND_SECONDS_MAX, STATUS_LENGTH_MAX, Notice, parse


def _check_notice(data: bytes) -> bool:
    notice = parse(data)
    assert 0 <= notice.extend_seconds <= EXTEND_SECONDS_MAX
    if notice.status is not None:
        assert notice.status.isprintable() and len(notice.status) <= STATUS_LENGTH_MAX
    return notice != Notice()


def _notices() -> Iterator[bytes]:
    yield b"READY=1\nSTATUS=at work\nWATCHDOG=1\n"
    yield b"WATCHDOG=trigger"
    yield b"EXTEND_TIMEOUT_USEC=1500000"
    yield b"STATUS="


def _check_status_line(data: bytes) -> bool:
    return not status_problem(data)


def _status_lines() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    yield b"HTTP/1.0 399\r\n"


TARGETS = (
    Target("sd-notify", _check_notice, _notices),
    Target("http-status-line", _check_status_line, _status_lines),
)
