"""totemctl's end of the control socket, and what all its commands share."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import click
import msgspec

from ...ipc.blocking import BlockingConnection
from ...ipc.endpoints import SOCKET_PATH_BYTES_MAX, open_pidfd, require_socket
from ...ipc.errors import AccessDenied, ConnectionLost, InvalidArgument, OperationFailed
from ...ipc.messages.control import TO_TOTEMCTL
from ...ipc.paths import EXECUTIVE_SOCKET
from ..runtime.version import VERSION

ROLE = "totemctl"
"""What totemctl calls itself on the control socket."""

ANSWER_SECONDS = 10.0
"""How long totemctl waits for the executive, which itself waits for its children only a fraction of that."""

POLL_SECONDS = 0.05
"""How often it is looked at whether an executive whose process cannot be watched is gone."""

F = TypeVar("F", bound=Callable[..., Any])


class Options:
    """What was said before the command's name (or, for `--json`, after it)."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.as_json = False

    def executive(self) -> Executive:
        """A connection to the node; use it in a `with` statement."""
        return Executive(self.run_dir)


class Executive:
    """A connection to the executive."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / EXECUTIVE_SOCKET
        self._connection: BlockingConnection[Any] = BlockingConnection(
            self._path, ROLE, TO_TOTEMCTL, service="totemd", software=f"totemctl {VERSION}"
        )
        self.pid = self.node_id = 0

    def __enter__(self) -> Executive:
        """
        Raises:
            ConnectionLost: no executive runs for this run directory.
            AccessDenied: this user may not.
        """
        require_server(self._path)
        welcome = self._connection.open(ANSWER_SECONDS)
        self.pid, self.node_id = welcome.server_pid, welcome.node_id
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, request: msgspec.Struct) -> Any:
        """The reply.

        Raises:
            ConnectionLost: the executive ended, or does not answer.
            TotemdError: it refused.
        """
        try:
            return self._connection.request(request, timeout=ANSWER_SECONDS)
        except TimeoutError as error:
            raise ConnectionLost(str(error)) from None

    def wait_until_gone(self, seconds: float) -> bool:
        """Whether the executive has ended within so many seconds."""
        pidfd = open_pidfd(self.pid)
        if pidfd is not None:
            try:
                return bool(select.select([pidfd], [], [], seconds)[0])
            finally:
                os.close(pidfd)
        # Gone already, or in another pid namespace: then its socket tells.
        deadline = time.monotonic() + seconds
        while self._path.exists():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


def require_server(path: Path) -> None:
    """Find out at once, and say in words, when nobody serves at *path*; ZeroMQ alone would try for ever.

    Raises:
        InvalidArgument: the path is too long for a socket.
        ConnectionLost: there is no socket, or one that an executive left behind when it was killed.
        AccessDenied: this user may not open it.
    """
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise InvalidArgument(f"{path}: a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes")
    try:
        require_socket(path, "totemd")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(ANSWER_SECONDS)
            probe.connect(str(path))
    except ConnectionRefusedError:
        raise ConnectionLost(f"totemd is not running here: nobody serves at {path}") from None
    except PermissionError as error:
        if isinstance(error, AccessDenied):
            raise
        raise AccessDenied(f"{path}: {error.strerror}; ask as root or as the node's owner") from None
    except ConnectionError:
        raise
    except OSError as error:
        raise OperationFailed(f"{path}: {error.strerror or error}") from None


def command(name: str) -> Callable[[F], click.Command]:
    """A command of totemctl: its function gets the `Options` first, and `--json` works after its name too."""

    def note(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        context.ensure_object(Options).as_json |= value

    def decorate(function: F) -> click.Command:
        as_json = click.option("--json", is_flag=True, expose_value=False, callback=note, help="Print JSON.")
        return click.command(name)(as_json(click.pass_obj(function)))

    return decorate
