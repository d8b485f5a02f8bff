"""What the asyncio and the blocking replica have in common: what they show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ...ipc.errors import NotMember
from ...ipc.ids import Address
from .driver import Driver, OnMembers
from .effects import Status
from .machine import Machine, StateMachine, require_plain


class Place(Protocol):
    """A membership in a group, as far as it is of interest here."""

    @property
    def absences(self) -> int:
        """How often it was lost."""


class ReplicaView:
    """What a replica shows."""

    def __init__(
        self, machine: StateMachine, on_status: Callable[[Status], None] | None, on_members: OnMembers | None
    ) -> None:
        # Before the group is joined: what is refused here leaves nothing behind.
        self._checked = Machine(machine)
        require_plain("on_status", on_status)
        require_plain("on_members", on_members)
        self.machine = machine
        """For reading.  Changes go through `submit`."""
        self._driver: Driver | None = None
        self._place: Place | None = None

    @property
    def status(self) -> Status:
        """Where this replica stands."""
        return Status.JOINING if self._driver is None else self._driver.core.status

    @property
    def address(self) -> Address:
        """This member."""
        return self._require_driver().core.me

    @property
    def is_away(self) -> bool:
        """Whether this member has lost its place in the group, and its status does not show that yet.

        The status follows the order of the group's events; that the connection is lost is known before.
        """
        return self._place is not None and self._place.absences != self._require_driver().absences

    @property
    def members(self) -> tuple[Address, ...]:
        """The group, as far as its events have been taken in."""
        return () if self._driver is None else self._driver.core.members

    @property
    def active_members(self) -> tuple[Address, ...]:
        """Those who have the state and may work, oldest first."""
        if self._driver is None:
            return ()
        ranks = self._driver.core.roster.ranks
        return tuple(sorted(ranks, key=lambda member: (ranks[member], member)))

    @property
    def applied(self) -> int:
        """Commands that the state here has seen, since there is one."""
        history = None if self._driver is None else self._driver.core.follower.history
        return 0 if history is None else history.applied

    def _late(self, otherwise: str, timeout: float | None) -> TimeoutError:
        """What a wait raises whose time is over."""
        troubles = "" if self._driver is None else self._driver.core.troubles
        plight = f"it is {self.status.value}" + (f"; {troubles}" if troubles else "")
        return TimeoutError(f"{otherwise} within {timeout} s ({plight})")

    def _require_driver(self) -> Driver:
        if self._driver is None:
            raise NotMember("the replica has not joined its group: use it with `with` or `async with`")
        return self._driver

    def __repr__(self) -> str:
        kind, machine = type(self), type(self.machine).__name__
        return f"<{kind.__module__}.{kind.__qualname__} of {machine}, {self.status.value}>"
