"""Whether the node is quorate, for the applications of one keeper that need it.

The keeper asks the quorum service itself: that the sam process dies is no reason to stop an application.  While the
service cannot be reached nothing is quorate, as for all its clients.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

from ..ipc.errors import ConnectionLost, NotFound, TotemdError, TryAgain
from .events import QuorumChanged

LOOK_SECONDS = 0.5
"""How often a quorum service that is not there is looked for."""

PATIENCE_SECONDS = 10.0
"""A node that is there for so long without a quorum service counts no votes."""


class Dependant(Protocol):
    """An application that needs quorum."""

    def happen(self, event: QuorumChanged) -> None:
        """The node is quorate, or is not any more."""


class QuorumWatch:
    """Connects when the first application needs it, again whenever the connection is lost, and tells every change."""

    def __init__(self, run_dir: Path) -> None:
        """Nothing is asked yet."""
        self._run_dir = run_dir
        self._dependants: list[Dependant] = []
        self._following: asyncio.Task[None] | None = None
        self._known = QuorumChanged(quorate=False)

    def watch(self, dependant: Dependant) -> None:
        """Tell it how it stands, soon, and whatever changes from then on."""
        if dependant in self._dependants:
            return
        self._dependants.append(dependant)
        loop = asyncio.get_running_loop()
        if self._following is None:
            self._following = loop.create_task(self._follow())
        else:
            loop.call_soon(self._tell_one, dependant)

    def dismiss(self, dependant: Dependant) -> None:
        """It needs to know no more."""
        if dependant in self._dependants:
            self._dependants.remove(dependant)
        if not self._dependants:
            self.close()

    def close(self) -> None:
        """Hang up."""
        if self._following is not None:
            self._following.cancel()
            self._following = None
        self._known = QuorumChanged(quorate=False)

    async def _follow(self) -> None:
        from ..services.quorum.aio import Client  # few need it; the others shall not carry its modules  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        missed_since: float | None = None
        while True:
            try:
                async with Client(self._run_dir) as client:
                    missed_since = None
                    losses = client.status.losses
                    self._learn(QuorumChanged(client.quorate))
                    async for status in client:
                        if status.losses != losses:  # perhaps it has come back already
                            self._learn(QuorumChanged(quorate=False))
                            losses = status.losses
                        self._learn(QuorumChanged(status.quorate))
            except NotFound as error:
                missed_since = loop.time() if missed_since is None else missed_since
                gone = loop.time() - missed_since >= PATIENCE_SECONDS
                self._learn(QuorumChanged(quorate=False, problem=str(error) if gone else ""))
            except (ConnectionLost, TryAgain):
                missed_since = None
                self._learn(QuorumChanged(quorate=False))
            except (TotemdError, OSError) as error:
                missed_since = None
                self._learn(QuorumChanged(quorate=False, problem=str(error)))
            await asyncio.sleep(LOOK_SECONDS)

    def _learn(self, change: QuorumChanged) -> None:
        if change != self._known:
            self._known = change
            for dependant in list(self._dependants):
                dependant.happen(change)

    def _tell_one(self, dependant: Dependant) -> None:
        if dependant in self._dependants:
            dependant.happen(self._known)
