"""The state of this replica as it follows the order: applying, stopping at a merge, catching up.  Pure.

```
            census: chosen                    somebody of another part came              census: chosen
 (nothing) ───────────────► live, applying ─────────────────────────────► live, holding ────────────────► live, applying
      │                          ▲                                             │
      │  cut                     │ last part: restore, then what came since    │ census: not chosen; cut off
      └──────► receiving ────────┘◄──────────────── cut ──────────────── not live (its state is kept until then)
```
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...ipc.ids import Address
from .effects import Apply, Effect, Release, Restore, TellMembers, Unknown
from .history import History
from .messages import Barrier, Command
from .pending import Pending
from .transfer import BUFFERED_COST_BYTES, Incoming, Kept

HELD_BYTES_MAX: Final = 32 * 1024 * 1024
"""Commands that wait for the decision at a merge; above, nobody applies them and their senders send them again."""


class Follower:
    """One replica's state, without the state: what it is, and what becomes of each command."""

    def __init__(self, me: Address, pending: Pending, emit: Callable[[Effect], None], tells_members: bool) -> None:
        self.history: History | None = None
        """Of the state that is here, even if it is not followed any more."""
        self.live = False
        self.holding = False
        """Parts of the group have met, and it is not decided whose state is kept."""
        self.incoming: Incoming | None = None
        self.applied_of: dict[Address, int] = {}
        """Numbers of the last commands of others that were applied, until that is confirmed."""
        self._me = me
        self._pending = pending
        self._emit = emit
        self._tells_members = tells_members
        self._held: list[tuple[Address, Command | Barrier]] = []
        self._held_bytes = 0
        self._doubtful = 0
        """How many of them came before somebody left, who may apply them elsewhere."""

    def command(self, sender: Address, command: Command | Barrier, counts: bool) -> bool:
        """A command, at its place; it *counts* if its sender is active there.  False: the transfer cannot go on."""
        if counts and self.holding:
            self._held_bytes += BUFFERED_COST_BYTES
            if isinstance(command, Command):
                self._held_bytes += len(command.payload)
            counts = self._held_bytes <= HELD_BYTES_MAX
            if counts and self.live:
                self._held.append((sender, command))
                return True
        if not counts:
            if sender == self._me:
                self._pending.not_applied(command.number)
        elif self.live:
            self._apply(sender, command)
        elif self.incoming is not None and isinstance(command, Command):
            return self.incoming.keep(sender, command)
        return True

    def left(self, members: tuple[Address, ...]) -> None:
        """Somebody left; *members* go on, and this is one of them."""
        self._doubtful = len(self._held)
        if self.live:
            assert self.history is not None
            self.history = self.history.without(members)
            self._tell(members)
        elif self.incoming is not None:
            if self.holding:
                # Those who hold are told of this before what they hold.  That is too rare to keep two orders for.
                self.incoming = None
            else:
                self.incoming.left(members)

    def go_on(self, apply_held: bool) -> None:
        """The state that is here was chosen, and is what this replica was following."""
        self.holding = False
        doubtful = self._doubtful
        for index, (sender, command) in enumerate(self._drop_held()):
            if apply_held:
                self._apply(sender, command)
            elif sender == self._me and index >= doubtful:
                self._pending.not_applied(command.number)
            elif sender == self._me and (ticket := self._pending.ticket(command.number)) is not None:
                self._emit(Unknown(ticket))

    def begin(self, history: History, members: tuple[Address, ...]) -> None:
        """The state that is here was chosen, among others or after a time without work; from here on it is followed."""
        self.go_on(apply_held=False)
        self.history, self.live, self.incoming = history, True, None
        self._tell(members)

    def cut_off(self) -> None:
        """So many left that the rest may not work."""
        self._doubtful = len(self._held)
        self.incoming = None
        self.stop()

    def stop(self) -> None:
        """The state that is here is not followed any more."""
        was_live, self.live = self.live, False
        self.applied_of.clear()
        self.go_on(apply_held=False)
        if was_live:
            for ticket in self._pending.cut_off():
                self._emit(Unknown(ticket))

    def away(self) -> None:
        """This member lost its place in the order, with everything that was on its way."""
        self.live = self.holding = False
        self.incoming = None
        self.applied_of.clear()
        self._drop_held()
        for ticket in self._pending.away():
            self._emit(Unknown(ticket))

    def restore(self) -> None:
        """The transfer is complete: take the state over and catch up."""
        incoming, self.incoming = self.incoming, None
        assert incoming is not None and incoming.history is not None
        self._emit(Restore(incoming.snapshot(), self.history is not None))
        self.history, self.live = incoming.history, True
        for each in incoming.since:
            if isinstance(each, Kept):
                self._apply(each.sender, each.command)
            else:
                self.left(each.members)

    def _apply(self, sender: Address, command: Command | Barrier) -> None:
        if sender != self._me:
            self.applied_of[sender] = command.number
        ticket = self._pending.ticket(command.number) if sender == self._me else None
        if isinstance(command, Command):
            assert self.history is not None
            self.history = self.history.after(sender, command.number, command.payload)
            self._emit(Apply(sender, command.payload, ticket))
        if ticket is not None:
            self._release(self._pending.applied(command.number, ticket))

    def _tell(self, members: tuple[Address, ...]) -> None:
        if self._tells_members and self.history is not None:
            self.history = self.history.told(members)
            self._emit(TellMembers(members))

    def _release(self, tickets: list[int]) -> None:
        for ticket in tickets:
            self._emit(Release(ticket))

    def _drop_held(self) -> list[tuple[Address, Command | Barrier]]:
        held, self._held, self._held_bytes, self._doubtful = self._held, [], 0, 0
        return held
