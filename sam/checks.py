"""How health checks ask: a command, a connection, a request.  Each call answers once, or is cancelled.

The request is a GET of a few lines, on asyncio's streams: all that counts is the status line.  An HTTP library would be
the largest dependency of the project for that, and one with threads or a loop of its own besides (docs/decisions).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping

from .health import Check, Kind
from .helper import Helper
from .launch import NotStarted
from .option_types import host_and_port, url_parts
from .wording import ending_text

STATUS_LINE_BYTES_MAX = 1024
"""A first line of an answer that is longer is no status line."""

STATUS_GOOD = range(200, 400)
"""As container engines and load balancers see it: redirections are good."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r?\n)")


async def ask(check: Check, helper: Helper, environment: Mapping[bytes, bytes], timeout: float) -> str:
    """What is wrong with the application; empty if nothing is.  Takes as long as it takes: the caller cancels it.

    *timeout* only bounds what the application must not outlive: a command.
    """
    match check.kind:
        case Kind.EXEC:
            return await _run(check.target, helper, environment, timeout)
        case Kind.TCP:
            place = host_and_port(check.target)
            assert place is not None  # the option's rule
            return await _connect(*place)
        case Kind.HTTP:
            parts = url_parts(check.target)
            assert parts is not None
            return await _get(*parts)
        case Kind.HEARTBEAT:
            raise AssertionError("nobody asks for heartbeats")


async def _run(command: str, helper: Helper, environment: Mapping[bytes, bytes], timeout: float) -> str:
    try:
        ending, said = await helper.run(command, environment, timeout)
    except NotStarted as error:
        return str(error)
    if ending is None:
        return f"no answer within {timeout:g} s"
    if not ending.exit_code:
        return ""
    return f"it {ending_text(ending)}{f' ({said})' if said else ''}"


async def _connect(host: str, port: int) -> str:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return _words(error)
    await _close(writer)
    return ""


async def _get(authority: str, host: str, port: int, path: str) -> str:
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=STATUS_LINE_BYTES_MAX)
    except OSError as error:
        return _words(error)
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: sam-run\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    try:
        writer.write(request.encode("ascii"))
        return status_problem(await reader.readline())
    except ValueError:
        return "its answer is no HTTP"
    except OSError as error:
        return _words(error)
    finally:
        await _close(writer)


def status_problem(line: bytes) -> str:
    """What an answer's first line says is wrong; empty if nothing is."""
    if not line:
        return "it closed the connection without an answer"
    match = _STATUS_LINE.match(line)
    if match is None:
        return "its answer is no HTTP"
    status = int(match[1])
    return "" if status in STATUS_GOOD else f"status {status}"


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
