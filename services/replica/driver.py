"""A core with its state machine: carries out what the core decides, up to the messages that a shell must send.

Both shells are a page above this.  Nothing here waits.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_never

from ...ipc.errors import InvalidArgument, MessageTooLarge, NotMember
from ...ipc.ids import Address
from ..cpg.batches import BytesLike
from ..cpg.events import Event, Rejoined
from .core import IDENTITY_BYTES, Core
from .effects import (
    Apply,
    Became,
    Complain,
    DropUnsent,
    Effect,
    Fail,
    Release,
    Restore,
    Send,
    Status,
    TakeSnapshot,
    TellMembers,
    Unknown,
)
from .errors import OutcomeUnknown, Rejected
from .machine import Machine
from .messages import COMMAND_BYTES_MAX
from .policy import Available, Policy

_LOG = logging.getLogger("totemd.replica")

OnMembers = Callable[[tuple[Address, ...]], None]
"""Called with the members of the group, sorted; with none while this one is away."""


@dataclass(slots=True)
class Outcome:
    """What became of a proposal: a value, or an exception."""

    value: Any = None
    error: Exception | None = None

    def get(self) -> Any:
        """The value, or raise."""
        if self.error is not None:
            raise self.error
        return self.value


class Driver:
    """One replica without its connection."""

    def __init__(
        self,
        machine: Machine,
        me: Address,
        policy: Policy | None,
        identity: bytes | None = None,
        *,
        on_status: Callable[[Status], None] | None = None,
        on_members: OnMembers | None = None,
    ) -> None:
        self.machine = machine
        self.core = Core(
            me,
            os.urandom(IDENTITY_BYTES) if identity is None else identity,
            Available() if policy is None else policy,
            snapshot_format=self.machine.snapshot_format,
            accepts=self.machine.accepts_formats,
            tells_members=self.machine.tells_members,
            summary=self.machine.summary,
        )
        self.outgoing: deque[Send] = deque()
        """To be multicast, in order; the shell takes them out."""
        self._outcomes: dict[int, Outcome] = {}
        self.absences = 0
        """Of which it has been told."""
        self.error: Exception | None = None
        """Why it closed."""
        self._on_status = on_status
        self._on_members = on_members
        self._results: dict[int, Outcome] = {}
        """Known, and not to be given out yet."""

    def propose(self, command: BytesLike, now: float) -> int:
        """Have a command applied.

        Raises:
            InvalidArgument: it has no buffer (a number, say).
            MessageTooLarge: more than a message holds.
            NotMember, or what ended the replica: it is closed.
        """
        self.require_open()
        ticket = self.core.propose(_as_command(command), now)
        self._carry_out()
        return ticket

    def barrier(self, now: float) -> int:
        """Have it told when everything before it has been applied; raises as `propose`."""
        self.require_open()
        ticket = self.core.propose(None, now)
        self._carry_out()
        return ticket

    def require_open(self) -> None:
        """Raises what ended the replica, if something did."""
        if self.core.status is Status.CLOSED:
            raise NotMember("the replica is closed") if self.error is None else self.error

    def begin(self) -> None:
        """Work with those who are here."""
        self.require_open()
        self.core.begin()
        self._carry_out()

    def event(self, event: Event, now: float) -> None:
        """The next event of the group; raises what the state machine raises."""
        self.absences += isinstance(event, Rejoined)
        before = self.core.members
        self.core.event(event, now)
        self._carry_out()
        if self._on_members is not None and self.core.members != before:
            self._on_members(self.core.members)

    def expire(self, now: float) -> None:
        """Time has passed."""
        self.core.expire(now)
        self._carry_out()

    def take_outcomes(self) -> list[tuple[int, Outcome]]:
        """What became of proposals since the last call, with their tickets."""
        if not self._outcomes:
            return []
        outcomes, self._outcomes = list(self._outcomes.items()), {}
        return outcomes

    def close(self, error: Exception | None = None) -> None:
        """The group was left, or cannot be used any more."""
        if self.core.status is not Status.CLOSED:
            self.error = error
            self.core.close()
            self._carry_out()
        self.outgoing.clear()

    def _carry_out(self) -> None:
        while effects := self.core.take_effects():
            for effect in effects:
                self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Send():
                self.outgoing.append(effect)
            case Apply(_, payload, ticket):
                self._apply(payload, ticket)
            case Release(ticket):
                self._outcomes[ticket] = self._results.pop(ticket, Outcome())
            case Unknown(ticket):
                self._results.pop(ticket, None)
                text = "this replica lost its place before it was certain that the command was applied"
                self._outcomes[ticket] = Outcome(error=OutcomeUnknown(text))
            case TellMembers(members):
                self.machine.members_changed(members)
            case TakeSnapshot(transfer):
                self.core.snapshot_taken(transfer, self.machine.snapshot())
            case Complain(error):
                _LOG.error("the state machine could not give its state to a joiner", exc_info=error)
            case Restore(snapshot, replaces):
                self.machine.restore(snapshot, replaces)
            case DropUnsent():
                self.outgoing.clear()
            case Became(status):
                self._became(status)
            case Fail(reason):
                self.error = reason
            case _:
                assert_never(effect)

    def _became(self, status: Status) -> None:
        if self._on_status is None:
            return
        try:
            self._on_status(status)
        except Exception:
            if status is not Status.CLOSED:
                raise
            # It ends nothing any more: who waits is told what ended the replica, and the group is left.
            _LOG.exception("on_status raised when it was told that the replica is closed")

    def _apply(self, payload: bytes, ticket: int | None) -> None:
        try:
            outcome = Outcome(self.machine.machine.apply(payload))
        except Rejected as refusal:
            outcome = Outcome(error=refusal)
        if ticket is not None:
            self._results[ticket] = outcome


def _as_command(given: object) -> bytes:
    try:
        view = memoryview(given)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgument(f"a command is bytes-like, not {type(given).__name__}; encode it first") from None
    if view.nbytes > COMMAND_BYTES_MAX:
        raise MessageTooLarge(f"a command has at most {COMMAND_BYTES_MAX} bytes; this one has {view.nbytes}")
    return view.tobytes()
