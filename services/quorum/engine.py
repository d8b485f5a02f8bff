"""The quorum process as pure state: stream events, requests and the passing of time in, effects out.

The count is changed by ordered messages and by state exchanges only, so all nodes of a ring have the same at each
place of the order.  The shell (`service.py`) carries the effects out, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from ...ipc.errors import MalformedMessage, TotemdError, TryAgain
from ...ipc.ids import Guarantee, RingId
from ...ipc.messages.quorum import Count
from ...ipc.messages.stream import (
    Attached,
    Delivered,
    Epoch,
    Lane,
    Regular,
    StreamEvent,
    Submit,
    SubmitItem,
    Synchronised,
)
from ..envelope import Kind, disclose
from ..sync import Completed, Output, Released, ServiceGone, SubmitState, Synchroniser, decode_epoch, enclose_state
from .effects import Answer, Effect, Note, Remember, Tell, ToRing, Track
from .report import count_of, joined_and_left, members_line
from .rules import Own
from .votes import Tally, merged
from .wire import (
    CancelWait,
    Leaving,
    Order,
    Record,
    Recount,
    Reloaded,
    SetExpected,
    SetVotes,
    decode_order,
    decode_record,
    enclose_order,
    encode_record,
)

SERVICE = "quorum"
"""Role on totem.sock, and name in service lists."""

PENDING_MAX = 64
"""Requests of this node's clients that may be on their way through the ring."""

QUORATE = "This node is within the primary component and will provide service."
NOT_QUORATE = "This node is within the non-primary component and will NOT provide any services."
"""What users of corosync search their logs for."""


class Placed(NamedTuple):
    """An order with who gave it."""

    origin: int
    order: Order


class Engine:
    """The votes as one node sees them.  Every method may leave effects, to be fetched with `take_effects`."""

    def __init__(self, node_id: int, own: Own, *, tracked: int = 0, memory: Record | None = None) -> None:
        """*tracked*: the highest expected votes ever, 0 for none; *memory*: what a predecessor on this node knew."""
        self.node_id = node_id
        self.names: Mapping[int, str] = {}
        self.exchanges = self.malformed = self.losses = 0
        """What the metrics show."""
        self.tracked = tracked if own.tracking else 0
        self.own = own
        expected = max(own.expected, self.tracked)
        self._record = memory or Record(0, own.votes, expected, own.expected, own.rules)
        self._effects: list[Effect] = []
        self._sync: Synchroniser[Placed] | None = None
        self._tally: Tally | None = None
        self._ring: RingId | None = None
        self._coming: RingId | None = None
        """The ring where the stream is; `_ring` follows when the exchange is complete."""
        self._lives: dict[int, int] = {}
        self._epoch: Epoch | None = None
        self._changes = 0
        """Changes of the count since the last exchange."""
        self._window: float | None = None
        """When the window of last_man_standing has passed."""
        self._lost = False
        """Whether nodes have been lost since the last recount."""
        self._waiting: deque[Order] = deque()
        self._pending: dict[int, tuple[Any, int]] = {}
        self._number = 0
        self._reloaded: dict[str, Any] = {}
        """What reloads have changed in the record, until the last of them, `_reload`, has come back in the order."""
        self._reload = 0
        self._told = self.count()

    def take_effects(self) -> list[Effect]:
        """What is to be done, in order."""
        effects = self._effects.copy()
        self._effects.clear()
        return effects

    @property
    def tally(self) -> Tally | None:
        """The count; None while there is no stream, and before the first exchange."""
        return self._tally

    @property
    def quorate(self) -> bool:
        """Whether this node's side may go on."""
        return self._tally is not None and self._tally.quorate

    @property
    def attached(self) -> bool:
        """Whether there is a stream."""
        return self._sync is not None

    @property
    def synchronised(self) -> bool:
        """Whether the votes of the whole ring are known."""
        return self._sync is not None and self._sync.complete

    @property
    def record(self) -> Record:
        """What this node would bring to an exchange now."""
        return self._record

    @property
    def epoch(self) -> Epoch | None:
        """The last exchange that was completed here."""
        return self._epoch

    def count(self) -> Count:
        """How it stands, for clients."""
        return count_of(
            self._tally, self._record, ring=self._ring, node_id=self.node_id, names=self.names, losses=self.losses
        )

    # -- the stream

    def attach(self, attached: Attached, life: int) -> None:
        """A stream begins; *life* is a number that no earlier stream had."""
        self.detach("the stream began anew")
        self._record = msgspec.structs.replace(self._record, life=life)
        self._coming = attached.ring
        self._sync = Synchroniser(SERVICE, attached)

    def detach(self, why: str) -> None:
        """The stream is lost: nothing is known, so nothing is quorate."""
        if self._sync is None:
            return
        self._sync = self._ring = self._coming = self._epoch = self._window = None
        self._waiting.clear()
        self._lives = {}
        for handle, request in self._pending.values():
            error = TryAgain(f"{why}; whether it was done can be seen when the ring is back")
            self._effects.append(Answer(handle, request, error))
        self._pending.clear()
        self._record = msgspec.structs.replace(self._record, **self._reloaded)
        self._reloaded = {}
        was, self._tally = self.quorate, None
        self._speak(was)

    def event(self, event: StreamEvent, payload: bytes | memoryview, now: float) -> None:
        """The next event of the stream; *payload* is that of a `Delivered`."""
        if self._sync is None:
            return
        try:
            match event:
                case Delivered(origin):
                    kind, header, body = disclose(payload)
                    if kind is Kind.STATE:
                        outputs = self._sync.state(origin, decode_epoch(header), body)
                    else:
                        outputs = self._sync.application(Placed(origin, decode_order(header)))
                case Regular(ring):
                    self._coming = ring
                    outputs = self._sync.handle(event)
                case _:
                    outputs = self._sync.handle(event)
        except MalformedMessage as error:
            self.malformed += 1
            self._note("warning", "a submission that is none of quorum's was dropped", why=str(error))
            return
        for output in outputs:
            self._carry_out(output, now)

    def flush(self) -> None:
        """Submit what may go out now."""
        if not self.synchronised or not self._waiting:
            return
        payloads = tuple(enclose_order(order) for order in self._waiting)
        self._waiting.clear()
        items = (SubmitItem(Lane.APPLICATION, Guarantee.SAFE),) * len(payloads)
        self._effects.append(ToRing(Submit(items), payloads))

    # -- time

    @property
    def deadline(self) -> float | None:
        """When `time_passed` is to be called."""
        return self._window

    def time_passed(self, now: float) -> None:
        """The window of last_man_standing may have passed."""
        if self._window is None or now < self._window or self._epoch is None:
            return
        self._window = None
        epoch, changes = self._epoch, self._changes
        self._submit(lambda life, number: Recount(life, number, epoch, changes))

    # -- requests

    def expect(self, handle: Any, request: int, votes: int) -> None:
        """A client sets the expected votes; raises TryAgain when there is no ring."""
        self._ask(handle, request, lambda life, number: SetExpected(life, number, votes))

    def grant(self, handle: Any, request: int, node: int, votes: int) -> None:
        """A client sets a node's votes; raises as `expect`."""
        self._ask(handle, request, lambda life, number: SetVotes(life, number, node, votes))

    def cancel_wait(self, handle: Any, request: int) -> None:
        """A client does not want to wait for all nodes; raises as `expect`."""
        self._ask(handle, request, CancelWait)

    def reconfigure(self, own: Own) -> None:
        """The configuration of this node has changed."""
        before, self.own = self.own, own
        votes = own.votes if own.votes != before.votes else None
        expected = max(own.expected, self.tracked) if own.expected != before.expected else None
        if (votes, expected, own.rules) == (None, None, before.rules):
            return
        changed = {"votes": votes, "expected": expected, "floor": expected, "rules": own.rules}
        given = {name: value for name, value in changed.items() if value is not None}
        if self._sync is not None:
            self._submit(lambda life, number: Reloaded(life, number, votes, expected, own.rules))
            self._reloaded |= given
            self._reload = self._number
        if not self.synchronised:  # nobody has counted it yet: the next exchange brings it
            self._record = msgspec.structs.replace(self._record, **given)

    def stop(self) -> bool:
        """The process ends.  Returns whether there is anything to wait for (see `has_left`)."""
        if self._tally is None or not self._tally.rules.allow_downscale or not self.synchronised:
            return False
        self._submit(Leaving)
        self.flush()
        return True

    @property
    def has_left(self) -> bool:
        """Whether everybody knows that this node is being shut down."""
        return self._tally is None or self.node_id not in self._tally.voters

    def _ask(self, handle: Any, request: int, order: Callable[[int, int], Order]) -> None:
        if self._sync is None:
            raise TryAgain("this node has no ring at the moment")
        if len(self._pending) >= PENDING_MAX:
            raise TryAgain(f"{PENDING_MAX} requests are on their way already")
        self._submit(order)
        self._pending[self._number] = handle, request

    def _submit(self, order: Callable[[int, int], Order]) -> None:
        self._number += 1
        self._waiting.append(order(self._record.life, self._number))

    # -- outputs of the exchange

    def _carry_out(self, output: Output[Placed], now: float) -> None:
        match output:
            case Released(placed):
                self._obey(placed, now)
            case SubmitState(epoch):
                payload = enclose_state(epoch, encode_record(self._record))
                item = SubmitItem(Lane.SYNC, Guarantee.AGREED)
                self._effects.append(ToRing(Submit((item,)), (payload,)))
            case ServiceGone(node):
                self._lives.pop(node, None)
                if self._tally is not None and node in self._tally.voters:
                    self._replace(self._tally.gone(node), now)
            case Completed():
                self._completed(output, now)

    def _completed(self, done: Completed, now: float) -> None:
        records: dict[int, Record] = {}
        for node, state in done.states.items():
            try:
                records[node] = decode_record(state)
            except MalformedMessage as error:
                self.malformed += 1
                self._note("warning", "the state of a node cannot be read: it does not vote", node=node, why=str(error))
        before = self._tally.voters if self._tally is not None else {}
        self._ring, self._epoch, self._changes = self._coming, done.epoch, 0
        self._lives = {node: record.life for node, record in records.items()}
        self.exchanges += 1
        for line in joined_and_left(before, records, done.members):
            self._note("notice", line)
        self._replace(merged(records), now)
        self._note("notice", members_line(sorted(records)))
        self._effects.append(ToRing(Synchronised(done.epoch)))

    def _obey(self, placed: Placed, now: float) -> None:
        node, order = placed
        if self._tally is None or self._lives.get(node) != order.life:
            return
        error: TotemdError | None = None
        try:
            tally = self._next(self._tally, node, order)
        except TotemdError as refused:
            error, tally = refused, self._tally
        if tally is not self._tally:
            self._replace(tally, now)
        if node != self.node_id:
            return
        if order.number == self._reload:
            self._reloaded = {}
        if order.number in self._pending:
            self._effects.append(Answer(*self._pending.pop(order.number), error))

    def _next(self, tally: Tally, node: int, order: Order) -> Tally:
        match order:
            case SetExpected(votes=votes):
                return tally.expect(votes)
            case SetVotes(node=whose, votes=votes):
                return tally.grant(whose, votes)
            case CancelWait():
                self._note("info", f"wait_for_all_status reset by user on node {node}.", subsystem="VOTEQ")
                return tally.cancel_wait()
            case Recount(epoch=epoch, changes=changes):
                return tally.recount() if (epoch, changes) == (self._epoch, self._changes) else tally
            case Leaving():
                return tally.left(node)
            case Reloaded():
                return tally.reloaded(node, order) if node in tally.voters else tally

    # -- the count

    def _replace(self, tally: Tally, now: float) -> None:
        was, before, self._tally = self.quorate, self._tally, tally
        if before is not None:
            self._lost |= not before.voters.keys() <= tally.voters.keys()
        self._changes += 1
        self._lost &= tally.total < tally.expected
        recount = self._lost and tally.can_be_recounted
        self._window = now + tally.rules.last_man_standing_window / 1000 if recount else None
        own = tally.voters.get(self.node_id)
        self._record = Record(
            self._record.life,
            own.votes if own is not None else self._record.votes,
            tally.expected,
            tally.floor,
            own.rules if own is not None else self._record.rules,
            tally.waiting,
            tally.quorate,
            dict(tally.seen),
            self._epoch,
        )
        self._effects.append(Remember(self._record))
        if self.own.tracking and tally.expected > self.tracked:
            self.tracked = tally.expected
            self._effects.append(Track(self.tracked))
        self._speak(was)

    def _speak(self, was_quorate: bool) -> None:
        tally = self._tally
        if tally is not None and tally.waits_for_all:
            votes = f"Current votes: {tally.total} expected_votes: {tally.expected}"
            self._note("notice", f"Waiting for all cluster members. {votes}", subsystem="VOTEQ")
        if was_quorate != self.quorate:
            self.losses += was_quorate
            self._note("notice", QUORATE if self.quorate else NOT_QUORATE)
        count = self.count()
        if count != self._told:
            self._told = count
            self._effects.append(Tell(count))

    def _note(self, level: str, text: str, *, subsystem: str = "QUORUM", **fields: Any) -> None:
        self._effects.append(Note(level, text, fields, subsystem))
