"""The cpg process as pure state: stream events and client requests in, effects out.

Everything that makes the groups of a node is composed here: the state exchange, the memberships of the cluster and of
this node, what waits for the ring, and how far behind each client is.  The shell (`service.py`) carries the effects
out, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ...ipc.codec import encode
from ...ipc.errors import MalformedMessage, NotMember, TotemdError
from ...ipc.ids import Guarantee, Reason, group_text
from ...ipc.messages.cpg import (
    BATCH_COST_BYTES,
    Away,
    Changed,
    Consumed,
    Failed,
    Groups,
    Join,
    Leave,
    Lookup,
    Messages,
    Multicast,
    Ring,
    Say,
    Verb,
)
from ...ipc.messages.stream import Attached, Delivered, Lane, Regular, StreamEvent, Submit, SubmitItem, Synchronised
from ..envelope import Kind, disclose
from ..sync import Completed, Output, Released, ServiceGone, SubmitState, Synchroniser, decode_epoch, enclose_state
from .audience import Audience, ClientLimits
from .batches import checked_batch, pack_length
from .counters import Counters
from .effects import Effect, Frames, Note, ToRing
from .lookup import Postponed, page
from .memberships import Held, LocalClient, Memberships
from .outbox import Outbox
from .state import Change, GroupState, Verdict
from .transfers import Transfers
from .wire import Header, JoinList, Mcast, Part, ProcJoin, ProcLeave, decode_header, decode_join_list, encode_join_list

FromClient = Join | Leave | Say | Multicast | Consumed | Lookup

REFUSED_GROUPS_MAX = 1_024
"""Groups for which a client is told only once that it is no member; above, it may be told again."""

SERVICE = "cpg"
"""Role on totem.sock, and name in service lists."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An application submission with where it stands."""

    place: Delivered
    header: Header
    body: memoryview


class Engine:
    """The groups of one node.  Every method may leave effects, to be fetched with `take_effects`."""

    def __init__(self) -> None:
        self.counters = Counters()
        self._effects: list[Effect] = []
        self.audience = Audience(self._effects)
        self._memberships = Memberships()
        self._outbox = Outbox()
        self._transfers = Transfers()
        self._node_id = 0
        self._life = 0
        self._ring = Ring(None)
        """Where the stream is."""
        self._shown = Ring(None)
        """What clients know: the same, once the exchange for it is complete."""
        self._sync: Synchroniser[Placed] | None = None
        self._state = GroupState(0, 0)
        self._postponed = Postponed()

    def take_effects(self) -> list[Effect]:
        """What is to be done, in order."""
        effects = self._effects.copy()
        self._effects.clear()
        return effects

    @property
    def attached(self) -> bool:
        """Whether there is a stream."""
        return self._sync is not None

    @property
    def synchronised(self) -> bool:
        """Whether the memberships of the whole ring are known and messages flow."""
        return self._sync is not None and self._sync.complete

    @property
    def state(self) -> GroupState:
        """The memberships as known here."""
        return self._state

    # -- the stream

    def attach(self, attached: Attached, credit: int, life: int) -> None:
        """A stream begins; *credit* is totem's, *life* a number that no earlier stream had."""
        self.detach("the stream began anew")
        self._node_id, self._life = attached.node_id, life
        self._ring = Ring(attached.ring, attached.members)
        self._sync = Synchroniser(SERVICE, attached)
        self._state = GroupState(attached.node_id, life)
        self._outbox.open(credit)

    def detach(self, why: str) -> None:
        """The stream is lost: the node has no place in the order until the next `attach`."""
        if self._sync is None:
            return
        self._sync = None
        self._state = GroupState(self._node_id, 0)
        self._transfers = Transfers()
        self._ring = self._shown = Ring(None)
        self._memberships.clear(self.audience.clients)
        self._postponed.take()  # a client asks again when there is a ring again
        self._outbox.clear()
        for client in self.audience.clients:
            self.audience.refund(client, client.on_the_way)
        self._publish(self.audience.clients, Away(why))
        self._publish(self.audience.clients, self._shown)

    def event(self, event: StreamEvent, payload: bytes | memoryview = b"") -> None:
        """The next event of the stream; *payload* is that of a `Delivered`."""
        if self._sync is None:
            return
        if not isinstance(event, Delivered):
            if isinstance(event, Regular):
                self._ring = Ring(event.ring, event.members)
            self._carry_out(self._sync.handle(event))
            return
        try:
            kind, header, body = disclose(payload)
            if kind is Kind.STATE:
                outputs = self._sync.state(event.origin, decode_epoch(header), body)
            else:
                outputs = self._sync.application(Placed(event, decode_header(header), body))
        except MalformedMessage as error:
            self._malformed(event.origin, error)
            return
        self._carry_out(outputs)

    def credited(self, payload_bytes: int) -> None:
        """The ring has taken so many bytes."""
        for client, cost in self._outbox.credited(payload_bytes):
            self.audience.refund(client, cost)

    def flush(self) -> None:
        """Submit what may go out now.  Called when a drain is over, so that batches of one drain travel together."""
        if self._sync is None or not self._sync.complete or self._ring.ring is None:
            return
        items, payloads = self._outbox.take(self._life, self._ring.ring)
        if items:
            self.counters.batches_submitted += len(items)
            self._effects.append(ToRing(Submit(tuple(items)), payloads))

    # -- clients

    def opened(self, handle: Any, pid: int) -> LocalClient:
        """A client has connected; *handle* is what the shell knows it by."""
        client = self.audience.enter(handle, pid)
        self._publish((client,), self.audience.limits.told)
        self._publish((client,), self._shown)
        return client

    def limit(self, limits: ClientLimits) -> None:
        """What clients may do from now on; those that are connected get more credit for longer messages."""
        told = self.audience.limits.told
        self.audience.limits = limits
        if limits.told != told:
            self._publish(self.audience.clients, limits.told)
            for client in self.audience.clients:
                self.audience.widen(client)

    def time_passed(self, seconds: float) -> None:
        """To be called regularly, with the time since the last call."""
        for client in self.audience.time_passed(seconds):
            self._expel(client)

    def departs(self, client: LocalClient) -> None:
        """A client has closed its connection: `closed` comes when what it has said before was taken."""
        client.departing = True

    def closed(self, client: LocalClient, reason: Reason = Reason.PROCESS_DOWN) -> None:
        """A client is gone, with or without goodbye: it leaves its groups."""
        if self.audience.leave(client):
            for group in self._memberships.forget(client):
                self._outbox.leave(client, group, reason)

    def received(self, client: LocalClient, message: FromClient, payload: Sequence[bytes | memoryview]) -> None:
        """A message of a client; one that is gone already says nothing any more."""
        if client not in self.audience.clients:
            return
        match message:
            case Say(group, content, guarantee):
                self._multicast(client, group, guarantee, 1, (pack_length(len(content)) + content,))
            case Multicast(group, count, guarantee):
                self._multicast(client, group, guarantee, count, payload)
            case Consumed(messages):
                self.audience.consumed(client, messages)
            case Join(group):
                self._attempt(client, group, Verb.JOIN)
            case Leave(group):
                self._attempt(client, group, Verb.LEAVE)
            case Lookup():
                self._look_up(client, message)

    def holder(self, client: LocalClient, group: bytes) -> LocalClient | None:
        """Another client of the same process that has joined the group, or asked to, so that this one cannot."""
        holder = self._memberships.holder(group, client.pid)
        return None if holder is client else holder

    def refuse_join(self, client: LocalClient, group: bytes, error: TotemdError) -> None:
        """A join that somebody else has decided about."""
        if client in self.audience.clients:
            self._fail(client, group, Verb.JOIN, error)

    def stop(self) -> bool:
        """The process ends: all members leave.  Returns whether there is anything to wait for (see `members_left`)."""
        for client in list(self.audience.clients):
            self.closed(client)
        self.flush()
        return self.synchronised and self.own_members() > 0

    def own_members(self) -> int:
        """Memberships of this node's processes, as delivered."""
        return sum(len(pids) for pids in self._state.join_list().groups.values())

    def _attempt(self, client: LocalClient, group: bytes, verb: Verb) -> None:
        try:
            if verb is Verb.JOIN:
                client.refused.discard(group)
                if self._memberships.join(client, group):
                    self._outbox.join(client, group)
            elif (held := self._memberships.leave(client, group)) is None:
                self._outbox.leave(client, group, Reason.LEAVE)
            else:
                self.audience.refund(client, sum(BATCH_COST_BYTES + batch.size for batch in held))
                raise NotMember(f"the join of the group {group_text(group)!r} was given up before it began")
        except TotemdError as error:
            self._fail(client, group, verb, error)

    def _multicast(
        self, client: LocalClient, group: bytes, guarantee: Guarantee, count: int, payload: Sequence[bytes | memoryview]
    ) -> None:
        cost = self.audience.charge(client, sum(map(len, payload)))
        try:
            size = checked_batch(payload, count, client.message_bytes)
            if not self._memberships.may_send(client, group):
                raise NotMember(f"not a member of the group {group_text(group)!r}")
        except TotemdError as error:
            self.audience.refund(client, cost)
            if isinstance(error, NotMember):
                # Once is enough: what else is on its way crossed with an absence, and may be a flood.
                if group in client.refused:
                    return
                if len(client.refused) >= REFUSED_GROUPS_MAX:
                    client.refused.clear()
                client.refused.add(group)
            self._fail(client, group, Verb.MULTICAST, error)
            return
        if self.audience.has_overdrawn(client):
            return
        batch = Held(guarantee, count, payload, size)
        if not self._memberships.hold(client, group, batch):
            self._submit(client, group, batch)

    def _submit(self, client: LocalClient, group: bytes, batch: Held) -> None:
        self.counters.messages_submitted += batch.count
        self._outbox.batch(client, group, batch.guarantee, batch.count, batch.payload, size=batch.size)

    # -- outputs of the exchange

    def _carry_out(self, outputs: Iterable[Output[Placed]]) -> None:
        for output in outputs:
            match output:
                case Released(placed):
                    self._apply(placed)
                case SubmitState(epoch):
                    payload = enclose_state(epoch, encode_join_list(self._state.join_list()))
                    self._outbox.account(len(payload))
                    item = SubmitItem(Lane.SYNC, Guarantee.AGREED)
                    self._effects.append(ToRing(Submit((item,)), (payload,)))
                case ServiceGone(node):
                    self._transfers.node_gone(node)
                    self._tell(self._state.service_gone(node))
                case Completed():
                    self._completed(output)

    def _look_up(self, client: LocalClient, inquiry: Lookup) -> None:
        """Answer it now, at the end of the exchange, or, if clients wait for a ring anyway, with that."""
        if self.synchronised:
            self._publish((client,), page(self._state, inquiry))
        elif self._shown.ring is None or not self._postponed.add(client, inquiry):
            self._publish((client,), Groups(inquiry.number, None))

    def _completed(self, done: Completed) -> None:
        lists: dict[int, JoinList] = {}
        for node, state in done.states.items():
            try:
                lists[node] = decode_join_list(state)
            except MalformedMessage as error:
                lists[node] = JoinList(0, {})
                self._note("warning", "the state of a node cannot be read", node=node, why=str(error))
        self._tell(self._state.exchanged(done.left, lists, done.without))
        self._outbox.begin_anew(self._transfers.break_off().get(self._node_id, ()))
        self.counters.exchanges += 1
        if self._shown != self._ring:
            self._shown = self._ring
            self._publish(self.audience.clients, self._shown)
        for client, inquiry in self._postponed.take():
            self.received(client, inquiry, ())
        self._effects.append(ToRing(Synchronised(done.epoch)))

    def _apply(self, placed: Placed) -> None:
        node, header = placed.place.origin, placed.header
        match header:
            case Mcast():
                self._deliver(node, header, placed.body)
            case Part():
                self._put_together(node, header, placed.body)
            case ProcJoin(group, pid, life):
                changes = self._state.join(node, header)
                if node == self._node_id and life == self._life:
                    self._memberships.joined(group, pid)
                self._tell(changes)
            case ProcLeave(group, pid, life):
                self._tell(self._state.leave(node, header))
                if node == self._node_id and life == self._life:
                    self._succeed(group, pid)

    def _succeed(self, group: bytes, pid: int) -> None:
        """A leave was delivered: who waited for that joins, and what it has sent follows."""
        found = self._memberships.left(group, pid)
        if found is None:
            return
        successor, batches = found
        self._outbox.join(successor, group)
        for batch in batches:
            self._submit(successor, group, batch)

    def _put_together(self, node: int, part: Part, body: memoryview) -> None:
        if not self._state.is_current(node, part.life):
            return
        try:
            batch = self._transfers.part(node, part, body)
        except MalformedMessage as error:
            self._malformed(node, error)
            return
        if batch is None:
            return
        self._deliver(node, Mcast(part.group, part.pid, part.life, part.count, part.guarantee, part.ring), batch)
        if node == self._node_id and (done := self._outbox.transferred(part.transfer)) is not None:
            self.audience.refund(*done)

    def _deliver(self, node: int, header: Mcast, body: bytes | memoryview) -> None:
        verdict = self._state.judge(node, header)
        if verdict is not Verdict.DELIVER:
            self.counters.dropped += 1
            self._note("warning", _DROPPED[verdict], node=node, pid=header.pid, group=group_text(header.group))
            return
        self.counters.batches_delivered += 1
        receivers = tuple(self._memberships.receivers(header.group))
        if receivers:
            self.counters.messages_delivered += header.count
            self.counters.bytes_delivered += len(body)
            messages = Messages(header.group, node, header.pid, header.count, header.guarantee, header.ring)
            self._send(receivers, (encode(messages), body))

    # -- to the clients

    def _tell(self, changes: Iterable[Change]) -> None:
        for change in changes:
            receivers = tuple(self._memberships.receivers(change.group))
            if receivers:
                self._publish(receivers, Changed(change.group, change.members, change.joined, change.left))

    def _fail(self, client: LocalClient, group: bytes, verb: Verb, error: TotemdError) -> None:
        self._publish((client,), Failed(group, verb, error.status, str(error)))

    def _publish(self, clients: Iterable[LocalClient], message: msgspec.Struct) -> None:
        self._send(tuple(clients), (encode(message),))

    def _send(self, clients: tuple[LocalClient, ...], frames: Frames) -> None:
        for client in self.audience.send(clients, frames):
            self._expel(client)

    def _expel(self, client: LocalClient) -> None:
        if client in self.audience.clients:
            self.counters.expelled += 1
            self.audience.expel(client)
            self.closed(client, Reason.EXPELLED)

    def _malformed(self, node: int, error: MalformedMessage) -> None:
        self.counters.malformed += 1
        self._note("warning", "a submission that is none of cpg's was dropped", node=node, why=str(error))

    def _note(self, level: str, text: str, **fields: Any) -> None:
        self._effects.append(Note(level, text, fields))


_DROPPED = {
    Verdict.UNKNOWN_NODE: "Unknown node -> we will not deliver message",
    Verdict.UNKNOWN_PROCESS: "Unknown process -> we will not deliver message",
}
"""The first is what users of corosync search their logs for."""
