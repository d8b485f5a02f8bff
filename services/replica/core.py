"""A replica, as pure state: events of its group in, effects out.

Every member knows the same at the same place of the order, because all of it is learnt from messages and membership
changes of the group: who is active (`Roster`), who has which state (`Census`), where a transfer begins (`Cut`).  A
command is applied if its sender is active where it stands; so a member that learns that it was not knows for certain
that nobody has applied it.

The shells (`driver.py` and what is above it) carry the effects out, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...ipc.errors import MalformedMessage
from ...ipc.ids import Address, Guarantee, Reason
from ..cpg.events import ConfigChange, Event, Message, Rejoined
from .census import CENSUS_SECONDS, Census
from .decision import decide
from .donor import Donor
from .effects import Became, DropUnsent, Effect, Fail, Release, Send, Status
from .errors import IncompatibleState, TransferFailed
from .follower import Follower
from .messages import (
    REPLICA_PROTOCOL,
    Barrier,
    Chunk,
    Close,
    Command,
    Confirm,
    Cut,
    Ready,
    Said,
    Standing,
    TakeCensus,
    Unable,
    Want,
    decode,
    encode,
)
from .pending import Pending
from .policy import Policy
from .roster import Roster
from .search import Search
from .transfer import STALL_SECONDS, Incoming

IDENTITY_BYTES = 16
"""Random bytes that make the names which a core gives its own."""


class Core:
    """One member.  Every method but the properties may leave effects, to be fetched with `take_effects`."""

    def __init__(
        self,
        me: Address,
        identity: bytes,
        policy: Policy,
        *,
        snapshot_format: int = 1,
        accepts: Iterable[int] = (1,),
        tells_members: bool = False,
        summary: Callable[[], bytes] = bytes,
    ) -> None:
        """*summary* is asked when a census is answered."""
        self.me = me
        self.policy = policy
        self.members: tuple[Address, ...] = ()
        self.roster = Roster()
        self.status = Status.JOINING
        self.strangers = 0
        """Messages that were no replica's."""
        self._summary = summary
        self._effects: list[Effect] = []
        self._identity = identity
        self._censuses = 0
        self._life = 0
        self._surveyed = False
        """A census has been completed since this member joined: the roster is that of all members."""
        self._census: Census | None = None
        self._census_due = False
        self._census_at: float | None = None
        self._stall_at: float | None = None
        self._search = Search(accepts)
        self.pending = Pending(me, self._say, policy)
        self._confirming = False
        self.follower = Follower(me, self.pending, self._effects.append, tells_members)
        self.donor = Donor(me, identity, snapshot_format, self._say, self._effects.append)

    # -- what goes in and out

    def take_effects(self) -> list[Effect]:
        """What is to be done, in order."""
        effects = self._effects.copy()
        self._effects.clear()
        return effects

    def event(self, event: Event, now: float) -> None:
        """The next event of the group."""
        if self.status is Status.CLOSED:
            return
        match event:
            case Message():
                self._message(event, now)
            case ConfigChange():
                self._changed(event, now)
            case Rejoined():
                self._away()
        self._settle(now)

    def propose(self, payload: bytes | None, now: float) -> int:
        """Have everybody apply this; None is a barrier.  Returns the ticket under which the result will come."""
        ticket = self.pending.propose(payload)
        self._settle(now)
        return ticket

    def snapshot_taken(self, transfer: bytes, parts: Iterable[bytes]) -> None:
        """The answer to `TakeSnapshot`; the first of *parts* is read now, the others as they are sent."""
        self.donor.snapshot_taken(transfer, parts)

    def begin(self) -> None:
        """A person has decided: those who are here work, with what they have."""
        self._ask(forced=True)

    def next_deadline(self) -> float | None:
        """When to call `expire`."""
        return min((at for at in (self._census_at, self._stall_at) if at is not None), default=None)

    def expire(self, now: float) -> None:
        """Time has passed."""
        if self._census_at is not None and self._census_at <= now:
            self._census_at = now + CENSUS_SECONDS
            if self._census is not None:
                self._say(Close(self._census.mark))
            else:
                self._ask()
        if self._stall_at is not None and self._stall_at <= now:
            self._search.silent(self._expected_donor(), self.roster.ranks)
            self._look_for_a_donor()
            self._stall_at = now + STALL_SECONDS
        self._settle(now)

    def close(self) -> None:
        """The group was left."""
        self._become(Status.CLOSED)

    @property
    def troubles(self) -> str:
        """What is in the way of having the state, for people; empty if nothing is."""
        return self._search.troubles

    # -- events of the group

    def _changed(self, change: ConfigChange, now: float) -> None:
        came = {member.address for member in change.joined}
        gone = {member.address for member in change.left}
        self.members = tuple(member.address for member in change.members)
        if self.me not in self.members:
            self.close()
            return
        if self.me in came:
            self._life += 1
        merged = any(member.reason is Reason.NODE_UP for member in change.joined)
        self.roster.remove(gone | came)
        self.donor.forget(gone | came)
        self.pending.gone(gone | came)
        self._search.forget(gone | came)
        if self.follower.incoming is not None and self.follower.incoming.donor in gone:
            self.follower.incoming = None
        if gone:
            self._somebody_left()
        if merged and self._surveyed:
            self.follower.holding = True
        due = bool(came) or self._census_due or self._census is not None or (self._surveyed and not self.roster.ranks)
        self._census, self._census_due = None, due
        self._census_at = now + CENSUS_SECONDS if due else None
        stayed = [member for member in self.members if member not in came]
        if self.me in came or (due and (merged or not came) and self.me == min(stayed, default=None)):
            self._ask()

    def _somebody_left(self) -> None:
        if self.policy.may_work(self.members):
            self.follower.left(self.members)
        else:
            self._suspend()

    def _suspend(self) -> None:
        self.follower.cut_off()
        self.donor.stop()
        self.roster.suspend()

    def _away(self) -> None:
        self._effects.append(DropUnsent())
        self.follower.away()
        self.donor.stop()
        self.roster = Roster()
        self.members = ()
        self._surveyed = self._census_due = self._confirming = False
        self._census = self._census_at = None

    def _message(self, message: Message, now: float) -> None:
        try:
            said = decode(message.payload)
        except MalformedMessage:
            self.strangers += 1
            return
        sender = message.sender
        match said:
            case Command() | Barrier():
                if not self.follower.command(sender, said, self._surveyed and self.roster.is_active(sender)):
                    self._want_unless(self._search.overflowed())
            case Chunk() | Unable():
                self._sent(sender, said, now)
            case Confirm():
                self._confirmed(sender, said)
            case TakeCensus():
                self._asked(said, now)
            case Standing(census):
                if self._census is not None and self._census.mark == census:
                    self._census.answered(sender, said)
                    self._count(now)
            case Close(census):
                if self._census is not None and self._census.mark == census:
                    self._conclude(self._census, now)
            case Want(life, avoid):
                if self._surveyed:
                    self.roster.wants(sender, life, (Address(*each) for each in avoid))
                    self.donor.forget({sender})
            case Cut():
                self._cut(sender, said, now)
            case Ready(life):
                self.roster.ready(sender, life)
                self.pending.ask_again()
                if self._census is not None:
                    self._census.ready(sender, life)
                    self._count(now)

    # -- confirmations

    def _confirmed(self, sender: Address, confirm: Confirm) -> None:
        if sender == self.me:
            self._confirming = False
        for node, pid, number in confirm.upto:
            if (node, pid) == self.me and sender != self.me:
                self._effects.extend(Release(ticket) for ticket in self.pending.confirmed(sender, number))

    def _confirm(self) -> None:
        """One message at a time, so that a busy replica confirms many commands at once."""
        if self.follower.applied_of and not self._confirming:
            if self.policy.confirms:
                self._confirming = True
                self._say(Confirm(tuple((*sender, number) for sender, number in self.follower.applied_of.items())))
            self.follower.applied_of.clear()

    # -- the census

    def _ask(self, forced: bool = False) -> None:
        self._censuses += 1
        self._say(TakeCensus(self._identity + self._censuses.to_bytes(8, "little"), forced))

    def _asked(self, census: TakeCensus, now: float) -> None:
        if census.version != REPLICA_PROTOCOL:
            self.strangers += 1
            return
        self._census, self._census_due = Census(census.mark, census.forced), False
        self._census_at = now + CENSUS_SECONDS
        live = self.follower.live
        mates = tuple((*member, rank) for member, rank in sorted(self.roster.ranks.items())) if live else ()
        self._say(Standing(census.mark, self._life, live, self.follower.history, mates, self._summary()))

    def _count(self, now: float) -> None:
        if self._census is not None and self._census.is_complete(self.members):
            self._conclude(self._census, now)

    def _conclude(self, census: Census, now: float) -> None:
        """Here everybody decides the same."""
        self._census = self._census_at = None
        decision = decide(census, self.members, self.policy)
        winners, start, undisturbed = decision.winners, decision.start, decision.undisturbed
        self._surveyed = True
        self.roster.establish(winners, decision.others, keep_served=undisturbed)
        if not undisturbed or (self.follower.incoming is not None and self.follower.incoming.donor not in winners):
            self.follower.incoming = None
        if not undisturbed or self.me not in winners:
            self.donor.stop()
        if self.me not in winners:
            self.follower.stop()
        elif start is None:
            self.follower.go_on(apply_held=True)
        else:
            self.follower.begin(start, self.members)
        self._after_census(now)

    def _after_census(self, now: float) -> None:
        self._stall_at = now + STALL_SECONDS
        if self.me not in self.roster.ranks and self.me not in self.roster.waiting:
            self._want()  # It was silent for too long, and nobody knows what it has.
        self._restore_if_complete()

    # -- transfers to this member

    def _cut(self, sender: Address, cut: Cut, now: float) -> None:
        if not self.roster.is_active(sender) or self.follower.holding:
            self.donor.cut_void(sender)
            return
        receivers = tuple(Address(*each) for each in cut.receivers)
        self.roster.served(receivers, sender)
        if sender == self.me:
            self.donor.cut(cut.transfer, receivers, self.follower.history if self.follower.live else None)
        elif self.me in receivers and not self.follower.live and self.follower.incoming is None:
            if self._search.reads(sender, cut.snapshot_format):
                self.follower.incoming = Incoming(sender, cut.transfer)
                self._stall_at = now + STALL_SECONDS
            else:
                self._look_for_a_donor()

    def _look_for_a_donor(self) -> None:
        self._want_unless(self._search.failure(self.roster.ranks))

    def _sent(self, donor: Address, said: Chunk | Unable, now: float) -> None:
        incoming = self.follower.incoming
        if donor == self.me:
            self.donor.returned(said.transfer)
        elif incoming is not None and (incoming.donor, incoming.transfer) == (donor, said.transfer):
            self._stall_at = now + STALL_SECONDS
            if isinstance(said, Unable):
                self._search.unable(donor, said.reason)
                self._look_for_a_donor()
            elif incoming.chunk(said):
                self._restore_if_complete()
            else:
                self._want()

    def _restore_if_complete(self) -> None:
        incoming = self.follower.incoming
        if incoming is not None and incoming.complete and not self.follower.holding:
            self.follower.restore()
            self._search.restored()
            self._say(Ready(self._life))

    def _want_unless(self, failure: IncompatibleState | TransferFailed | None) -> None:
        if failure is None:
            self._want()
        else:
            self._fail(failure)

    def _want(self) -> None:
        self.follower.incoming = None
        self._say(Want(self._life, self._search.avoid(self.roster.ranks)))

    def _expected_donor(self) -> Address | None:
        incoming = self.follower.incoming
        return self.roster.expected_donor(self.me) if incoming is None else incoming.donor

    # -- after every input

    def _settle(self, now: float) -> None:
        if self.status is Status.CLOSED:
            self._census_at = self._stall_at = None
            return
        active = self.follower.live and self.roster.is_active(self.me)
        waits = self._surveyed and not self.follower.live and bool(self.roster.ranks)
        if not waits:
            self._stall_at = None
            self._search.over()
        elif self._stall_at is None:
            self._stall_at = now + STALL_SECONDS
        if active and not self.follower.holding:
            self.pending.flush()
            self._confirm()
            self.donor.serve(self.roster)
        if active:
            self._become(Status.ACTIVE)
        elif waits or self.follower.live:
            self._become(Status.RECEIVING)
        elif not self._surveyed or self._census is not None or self._census_due:
            self._become(Status.JOINING)
        else:
            self._become(Status.SUSPENDED)

    def _become(self, status: Status) -> None:
        if status is not self.status:
            self.status = status
            self._effects.append(Became(status))

    def _fail(self, error: IncompatibleState | TransferFailed) -> None:
        self._effects.append(Fail(error))
        self.close()

    def _say(self, said: Said) -> None:
        ordered_last = isinstance(said, Command | Barrier)
        guarantee = self.policy.guarantee if ordered_last else Guarantee.AGREED
        self._effects.append(Send(encode(said), guarantee))
