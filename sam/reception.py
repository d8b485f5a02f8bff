"""sam-run's own socket, by which its applications speak to it: who is there, and whom it speaks for.

Everything that an application may say is for the keeper that is its parent, so that health checks, stored data and
the mark of failure need nobody else: neither a node nor the sam process.  The kernel says who has connected; only a
process that descends from the keeper is let in, and it speaks for the application that it belongs to.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ..ipc.channel import Session
from ..ipc.endpoints import SHARED_SOCKET_MODE, Credentials
from ..ipc.errors import AccessDenied, WrongState
from ..ipc.messages.common import Hello
from ..ipc.messages.sam_app import FROM_APP, ROLE, Beat
from ..ipc.server import Closed, Server
from . import environment
from .calls import INSTANCE_ENDED
from .events import Answer, Called, Caller
from .probe import Probe


class Ward(Protocol):
    """What the reception has to know of an application, and tell it."""

    @property
    def name(self) -> str: ...

    @property
    def main(self) -> int:
        """Pid of the main process; 0 while there is none."""

    @property
    def instance(self) -> int:
        """Number of the current instance."""

    def happen(self, event: Called) -> None:
        """A process of it has said something."""


def abstract_address() -> Path:
    """An address that needs no file, ends with its process, and can be reached by every user.

    It cannot be guessed, so that nobody can take it first.
    """
    return Path(f"@totemd-sam-run-{os.getpid()}-{secrets.token_hex(8)}")


class Reception:
    """One socket for all applications that this process keeps."""

    def __init__(self, address: Path, probe: Probe) -> None:
        """Serve there.  *address* is a path, or begins with `@` (see `abstract_address`).

        Raises:
            OperationFailed: that is impossible.
        """
        self.address = address
        self._probe = probe
        self._wards: dict[str, Ward] = {}
        self._server: Server[Any] = Server(address, FROM_APP, self, node_id=0, mode=SHARED_SOCKET_MODE)
        self._loop = asyncio.get_running_loop()

    def enrol(self, ward: Ward) -> None:
        """From now on processes of this application are let in."""
        self._wards[ward.name] = ward

    def dismiss(self, ward: Ward) -> None:
        """This application is over."""
        self._wards = {name: each for name, each in self._wards.items() if each is not ward}

    def is_of(self, ward: Ward, pid: int) -> bool:
        """Whether a process belongs to this application, by the kernel's word."""
        return pid == ward.main or self._ward_of(pid) is ward

    def answer(self, answer: Answer) -> None:
        """Send what the machine has to say."""
        session = answer.caller.session
        assert isinstance(session, Session)
        self._server.send(session, answer.message)

    def close(self) -> None:
        """Hang up."""
        self._server.close()

    # -- ipc.server.Handler

    def admit(self, hello: Hello, credentials: Credentials) -> int:
        """Applications of this keeper only."""
        if hello.role != ROLE:
            raise AccessDenied(f"this socket is for applications (role {ROLE!r}), not for {hello.role!r}")
        if self._ward_of(credentials.pid) is None:
            raise AccessDenied(
                f"process {credentials.pid} belongs to no application that process {os.getpid()} supervises"
            )
        return 0

    def opened(self, session: Session) -> None:
        """From now on it speaks for the instance that runs now."""
        ward = self._ward_of(session.pid)
        session.state = None if ward is None else (ward, ward.instance)

    def received(self, session: Session, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        """The application says something."""
        ward, instance = session.state or (None, 0)
        if ward is None or ward.instance != instance:
            if isinstance(message, Beat):
                return
            raise WrongState(INSTANCE_ENDED)
        caller = Caller(session, session.pid, getattr(message, "request", 0))
        ward.happen(Called(caller, message))

    def closed(self, session: Session, why: Closed) -> None:
        """Nothing follows from that: whoever is watched, and is gone, gives no sign of life."""

    def _ward_of(self, pid: int) -> Ward | None:
        ancestry = [pid, *self._probe.ancestors(pid)]
        for ward in self._wards.values():
            if ward.main in ancestry:
                return ward
        if os.getpid() not in ancestry:
            return None
        if len(self._wards) == 1:
            return next(iter(self._wards.values()))
        return self._wards.get(self._probe.variables(pid).get(environment.NAME, ""))
