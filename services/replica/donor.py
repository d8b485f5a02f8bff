"""The donor's side of this replica: one transfer at a time, for all who wait where it begins.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...ipc.ids import Address
from .effects import Complain, Effect, TakeSnapshot
from .errors import SnapshotFailed
from .history import History
from .messages import REASON_CHARACTERS_MAX, Cut, Said, Unable
from .roster import Roster
from .transfer import Serving


class Donor:
    """What this member gives to others."""

    def __init__(
        self,
        me: Address,
        identity: bytes,
        snapshot_format: int,
        say: Callable[[Said], None],
        emit: Callable[[Effect], None],
    ) -> None:
        self._me = me
        self._identity = identity
        self._format = snapshot_format
        self._say = say
        self._emit = emit
        self._transfers = 0
        self._announced: bytes | None = None
        """The transfer whose cut is on its way."""
        self._serving: Serving | None = None

    @property
    def serving(self) -> bool:
        """Whether a transfer is under way, or on its way to its cut."""
        return self._serving is not None or self._announced is not None

    def serve(self, roster: Roster) -> None:
        """Announce a transfer to all whom this member should serve, if none is under way."""
        receivers = () if self.serving else tuple(roster.to_serve(self._me))
        if receivers:
            self._transfers += 1
            self._announced = self._identity + self._transfers.to_bytes(8, "little")
            self._say(Cut(self._announced, receivers, self._format))

    def cut(self, transfer: bytes, receivers: Iterable[Address], history: History | None) -> None:
        """The own cut is here in the order; *history* is that of the state, None if it is not followed any more."""
        if transfer == self._announced and history is not None:
            self._serving = Serving(transfer, receivers, history)
            self._emit(TakeSnapshot(transfer))
        self._announced = None

    def cut_void(self, sender: Address) -> None:
        """A cut came where there can be none."""
        if sender == self._me:
            self._announced = None

    def snapshot_taken(self, transfer: bytes, parts: Iterable[bytes]) -> None:
        """The snapshot; its first part is read now, the others as they are sent."""
        if self._serving is not None and self._serving.transfer == transfer:
            self._read(self._serving, lambda serving: serving.begin(parts))

    def returned(self, transfer: bytes) -> None:
        """A part came back."""
        if self._serving is not None and self._serving.transfer == transfer:
            self._read(self._serving, Serving.returned)

    def forget(self, members: Iterable[Address]) -> None:
        """They receive nothing any more; without receivers there is no transfer."""
        if self._serving is not None:
            self._serving.receivers.difference_update(members)
            if not self._serving.receivers:
                self._serving = None

    def stop(self) -> None:
        """No transfer goes on."""
        self._serving = self._announced = None

    def _read(self, serving: Serving, next_chunks: Callable[[Serving], Iterable[Said]]) -> None:
        try:
            for chunk in next_chunks(serving):
                self._say(chunk)
        except SnapshotFailed as failed:
            self._serving = None
            self._emit(Complain(failed))
            # What is no text by itself, like half a surrogate pair, is told as Python writes it.
            reason = str(failed).encode(errors="backslashreplace").decode()
            self._say(Unable(serving.transfer, reason[:REASON_CHARACTERS_MAX]))
            return
        if serving.finished:
            self._serving = None
