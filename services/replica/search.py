"""A receiver's search for somebody who gives it the state: whom it has asked, and what came of it.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ...ipc.ids import Address
from .errors import IncompatibleState, TransferFailed
from .transfer import TRANSFER_ATTEMPTS_MAX


class Search:
    """What is known of the donors; *donors* are always those who have the state at present."""

    def __init__(self, accepts: Iterable[int]) -> None:
        """*accepts*: the formats that can be read."""
        self._accepts = frozenset(accepts)
        self._unreadable: dict[Address, int] = {}
        """Gives what is not accepted, with that format."""
        self._unable: dict[Address, str] = {}
        """Its state machine could not give the state, and why."""
        self._silent: set[Address] = set()
        """Sent nothing for too long."""
        self._overflows = 0

    def reads(self, donor: Address, snapshot_format: int) -> bool:
        """Whether what this donor is about to send can be read."""
        if snapshot_format not in self._accepts:
            self._unreadable[donor] = snapshot_format
        return snapshot_format in self._accepts

    def unable(self, donor: Address, reason: str) -> None:
        """It says that it cannot."""
        self._unable[donor] = reason

    def silent(self, asked: Address | None, donors: Collection[Address]) -> None:
        """Nothing came from whoever was *asked*; once everybody has been, it begins again."""
        if asked is not None:
            self._silent.add(asked)
        if self._unreadable.keys() | self._unable.keys() | self._silent >= set(donors):
            self.over()

    def overflowed(self) -> TransferFailed | None:
        """More came during the transfer than is kept; returns the end of it, if it was too often."""
        self._overflows += 1
        if self._overflows < TRANSFER_ATTEMPTS_MAX:
            return None
        return TransferFailed(
            f"more was written during each of {TRANSFER_ATTEMPTS_MAX} transfers of the state than a joiner keeps"
        )

    def restored(self) -> None:
        """The state is here."""
        self._overflows = 0

    def over(self) -> None:
        """Nobody has to be avoided but those whose format cannot be read: that does not pass."""
        self._unable.clear()
        self._silent.clear()

    def forget(self, members: Iterable[Address]) -> None:
        """They left, or are others now."""
        for member in members:
            self._unreadable.pop(member, None)
            self._unable.pop(member, None)
            self._silent.discard(member)

    def avoid(self, donors: Collection[Address]) -> tuple[Address, ...]:
        """Whom not to ask now."""
        tried = self._unreadable.keys() | self._unable.keys() | self._silent
        return tuple(sorted(tried & set(donors)))

    def failure(self, donors: Collection[Address]) -> IncompatibleState | TransferFailed | None:
        """Why there is nobody left to ask, if there is not."""
        if not donors or not self._unreadable.keys() | self._unable.keys() >= set(donors):
            return None
        if not self._unable:
            offered = ", ".join(map(str, sorted({self._unreadable[donor] for donor in donors})))
            return IncompatibleState(f"the replicas give snapshots in format {offered}; {self._accepted}")
        return TransferFailed(f"nobody could give the state: {self.troubles}")

    @property
    def troubles(self) -> str:
        """What was in the way so far, for people; empty if nothing was."""
        unable = (f"{_name(donor)} could not: {reason}" for donor, reason in sorted(self._unable.items()))
        unreadable = (
            f"{_name(donor)} gives format {each}, and {self._accepted}"
            for donor, each in sorted(self._unreadable.items())
        )
        silent = (f"{_name(donor)} sent nothing" for donor in sorted(self._silent))
        return "; ".join((*unable, *unreadable, *silent))

    @property
    def _accepted(self) -> str:
        return f"this state machine accepts {', '.join(map(str, sorted(self._accepts)))}"


def _name(donor: Address) -> str:
    return f"process {donor.pid} of node {donor.node_id}"
