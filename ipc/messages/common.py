"""What every socket has in common: the hello, the heartbeat, the goodbye, the error reply.

A connection starts with `Hello`; the server answers `Welcome` or `Refused`.  Until then the server ignores
everything but answers it with `Unwelcome`, which is how a client learns that the server behind its socket has been
replaced (ZeroMQ reconnects by itself, and silently).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ..errors import Status, TotemdError, to_exception

PROTOCOL = (1, 2)
"""(major, minor).  Another major is refused; a higher minor only adds fields and messages.
1.1: `limits.batch_bytes`.  1.2: a goodbye is answered; `limits.unread_ms`."""

GOODBYE_ANSWERED = (1, 2)
"""Who speaks this version, or a later one, answers a goodbye with one."""

PARTING_SECONDS = 2.0
"""How long a client waits for the answer to its goodbye; a server that hangs is left without."""

HEARTBEAT_SECONDS = 2.0
"""How often a peer whose process is not visible (another pid namespace) says that it is alive."""

HEARTBEAT_DEADLINE_SECONDS = 10.0
"""A peer that is not visible and was silent for so long is regarded as gone."""


class Wire(msgspec.Struct, frozen=True, kw_only=False, tag_field="type"):
    """Base of all messages: a msgpack map whose `type` names the verb; unknown fields are ignored."""

    asks: ClassVar[bool] = False
    """Whether the server sends it as a request of its own, so that its `request` field is no reply's."""


class Hello(Wire, frozen=True, tag="hello"):
    """First message of a connection."""

    role: str
    """What the other end is: `client`, `totemctl`, `cpg`, `sam`, `sam-run` …"""
    protocol: tuple[int, int] = PROTOCOL
    software: str = ""
    """Name and version, for logs only."""


class Welcome(Wire, frozen=True, tag="welcome"):
    """The server lets the connection in."""

    protocol: tuple[int, int]
    node_id: int
    server_pid: int
    pid: int
    """The connecting process, as the kernel names it."""
    credit: int = 0
    """Payload bytes that may be sent before the first `Credit`; 0 where a socket knows no credit."""


class Refused(Wire, frozen=True, tag="refused"):
    """A request failed; *request* 0 is the hello itself."""

    status: Status
    detail: str
    request: int = 0

    def exception(self) -> TotemdError:
        """The exception that the caller of the request gets."""
        return to_exception(self.status, self.detail)


class Unwelcome(Wire, frozen=True, tag="unwelcome"):
    """The server does not know this connection: say hello (again)."""


class Heartbeat(Wire, frozen=True, tag="heartbeat"):
    """I am alive.  Never answered."""


class Goodbye(Wire, frozen=True, tag="goodbye"):
    """The sender closes this connection on purpose; nothing follows.

    A server answers it in kind: everything that came before has been taken then, and the session is over.
    """


class Done(Wire, frozen=True, tag="done"):
    """A request without a result has succeeded."""

    request: int


DETAIL_LENGTH_MAX = 1_000
"""Characters of an error that goes back to who caused it."""


def refusal(error: TotemdError, request: int = 0) -> Refused:
    """The reply that raises *error* at the other end; what it quotes of the other end's bytes is cut short."""
    text = str(error)
    if len(text) > DETAIL_LENGTH_MAX:
        text = f"{text[:DETAIL_LENGTH_MAX]}…"
    return Refused(error.status, text, request)
