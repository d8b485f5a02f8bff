"""totemctl's end of keeper.sock: the declared applications of this node."""

from __future__ import annotations

from typing import Any

import msgspec

from ...ipc.blocking import BlockingConnection
from ...ipc.errors import ConnectionLost, NotFound
from ...ipc.messages.keeper import FROM_KEEPER, Describe, Kept, KeptApp, Order, Outcome, Settled, Verb
from ...ipc.paths import KEEPER_SOCKET
from ..runtime.version import VERSION
from .asking import ANSWER_SECONDS, ROLE, Options, require_server


class KeeperEnd:
    """A connection to the keeper; use it in a `with` statement."""

    def __init__(self, options: Options) -> None:
        self._path = options.run_dir / KEEPER_SOCKET
        self._connection: BlockingConnection[Any] = BlockingConnection(
            self._path, ROLE, FROM_KEEPER, service="the keeper of applications", software=f"totemctl {VERSION}"
        )

    def __enter__(self) -> KeeperEnd:
        """
        Raises:
            NotFound: this node has no declared applications.
            AccessDenied: this user may not steer them.
        """
        try:
            require_server(self._path)
            self._connection.open(ANSWER_SECONDS)
        except ConnectionLost:
            raise NotFound(
                "no applications are declared on this node, or it does not run; they stand in `sam { app { … } }`"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def in_full(self, names: tuple[str, ...] = ()) -> tuple[KeptApp, ...]:
        """Applications (and members of groups) of these names; all, if none is named.

        Raises:
            NotFound: a name is none of theirs.
        """
        reply: Kept = self._ask(Describe(names), ANSWER_SECONDS)
        return reply.apps

    def order(self, verb: Verb, names: tuple[str, ...], seconds: float) -> tuple[Outcome, ...]:
        """What has become of an order, which is waited for; raises `NotFound`, and `ConnectionLost` after the time."""
        reply: Settled = self._ask(Order(verb, names), seconds)
        return reply.outcomes

    def _ask(self, request: msgspec.Struct, seconds: float) -> Any:
        try:
            return self._connection.request(request, timeout=seconds)
        except TimeoutError:
            raise ConnectionLost(f"not done within {seconds:g} s; it goes on, see `totemctl apps list`") from None


def full_as_json(app: KeptApp) -> dict[str, Any]:
    """Everything about an application, on one level; its keys are part of the interface."""
    plain: dict[str, Any] = msgspec.to_builtins(app)
    progress = plain.pop("progress")
    return {
        "name": plain.pop("name"),
        **{key: progress[key] for key in ("state", "instance", "pid", "detail")},
        "policy": progress["policy"] or plain.pop("policy"),
        **plain,
    }
