"""The sam processes of a cluster in agreement: which candidate of which node runs each singleton.  Pure.

Two parts that do not depend on each other.  *Safety* is in the votes alone (`promises.py`): a lease is had by a node
for which a quorum has voted, and who has voted votes for nobody else until that lease is over.  Nothing of it rests on
who is in the group, on timeouts of the ring, or on order; only on clocks whose rates are bounded.  *Preference* is in
the line (`line.py`): the oldest candidate claims first, others do only if it does nothing.

All times are seconds of this machine's clock, which counts the time for which the machine was suspended.
"""

from __future__ import annotations

from ...ipc.ids import Address, RingId
from ...ipc.messages.quorum import Count
from .candidates import Own, Place, Stage
from .effects import CouncilEffect, Extend, Keep, Promote, Send
from .franchise import Franchise, franchise_of
from .handover import Handover
from .line import Line
from .messages import CANDIDATES_MAX, FENCE_MAX, RANK_MAX, Candidate, Claim, Message, Release, Standing, Stored, Vote
from .promises import Promises, Record
from .timing import Timing, hold_of, milliseconds

_MICRO = 1_000_000
"""A claim's number is its time: no two of a machine have the same, even if its sam process is another one."""


class Council:
    """One node's sam process in it.

    Its owner tells it what happens, carries out `take_effects()` in order, and calls `expire` at `next_deadline()`.
    """

    def __init__(self, here: Address, timing: Timing, record: Record | None, now: float) -> None:
        """*record* is what was kept on disk last; None: nobody knows, so this node votes for nobody."""
        self.here = here
        self.timing = timing
        self.line = Line()
        self.promises = Promises(record or Record(), now)
        self._abstains = record is None
        self.handover = Handover()
        self.own: dict[int, Own] = {}
        self._count: Count | None = None
        self._ring: RingId | None = None
        self._now = self._settle_by = now
        self._free_since: dict[str, float] = {}
        self._highest = 0
        """The highest fence that anybody has told of."""
        self._last_number = 0
        self._announced: Standing | None = None
        self._resent: set[tuple[str, int, int]] = set()
        self._effects: list[CouncilEffect] = []

    # -- the group and the quorum

    def members(self, members: tuple[Address, ...], now: float) -> None:
        """The membership of the sam processes' group changed."""
        if self.line.become(members) and self.here in members:
            self._announced = None
            self._resent.clear()
            self._settle_by = now + self.timing.settling
        self._free_since.clear()
        self._go_on(now)

    def ring(self, ring: RingId, now: float) -> None:
        """The ring changed."""
        self._ring = ring
        self._go_on(now)

    def count(self, count: Count | None, now: float) -> None:
        """The votes changed; None: nobody counts."""
        self._count = count
        self._go_on(now)

    def away(self, now: float) -> None:
        """This process is no member at the moment, and may have missed messages."""
        self._ring = None
        self.line.become(())
        self._free_since.clear()
        for own in self.own.values():
            own.claims.clear()
        self._go_on(now)

    def deliver(self, sender: Address, message: Message, now: float) -> None:
        """A message of the group; applications are no concern of the council."""
        if sender not in self.line.members:
            return
        match message:
            case Standing():
                self.line.said[sender] = message
            case Claim():
                self._vote(sender, message, now)
            case Vote():
                self._voted(sender, message, now)
            case Release(name, fence):
                if self.promises.release(sender.node_id, name, fence):
                    self._effects.append(Keep(self.promises.record()))
                    self._free_since.pop(name, None)
            case Stored():
                self.handover.take(message)
        self._go_on(now)

    # -- the sam-runs of this node

    def enlist(
        self, candidate: int, name: str, yield_seconds: float, now: float, term: tuple[int, float] | None = None
    ) -> None:
        """A sam-run wants to run *name*; with *term*, a fence and the end of its lease, it does already."""
        own = Own(candidate, name, yield_seconds, renewed_at=now)
        if term is not None:
            own.stage, (own.fence, own.ends_at) = Stage.RUNNING, term
            self._highest = max(self._highest, own.fence)
        self.own[candidate] = own
        self._go_on(now)

    def renew(self, candidate: int, fence: int, now: float) -> None:
        """A runner wants to go on."""
        own = self.own.get(candidate)
        if own is None or own.stage is not Stage.RUNNING or own.fence != fence:
            return
        own.renewed_at, own.wants_more = now, True
        self._go_on(now)

    def yielded(self, candidate: int, fence: int, now: float) -> None:
        """Nothing of that term runs any more; the sam-run stands by again."""
        own = self.own.get(candidate)
        if own is None or own.fence != fence or own.stage not in (Stage.RUNNING, Stage.ENDING):
            return
        silent = own.ends_at - own.renewed_at
        if own.stage is Stage.ENDING and silent > self.timing.lease(own.yield_seconds) - 2 * self.timing.renew_every:
            own.rank = None  # not heard for as long as its last lease: others first
        self._say(Release(own.name, fence))
        own.wait(now)
        self._go_on(now)

    def withdraw(self, candidate: int, now: float, *, clean: bool) -> None:
        """A sam-run is gone; *clean*: it has said that nothing of its application runs any more."""
        own = self.own.pop(candidate, None)
        if own is not None and own.fence and (clean or own.stage is Stage.CLAIMING):
            self._say(Release(own.name, own.fence))
        self._go_on(now)

    def store(self, candidate: int, data: bytes, now: float) -> None:
        """A runner's application has stored *data* for its successor."""
        own = self.own.get(candidate)
        if own is not None and own.stage is Stage.RUNNING:
            fence, version = self.handover.head(own.name)
            stored = Stored(own.name, own.fence, version + 1 if fence == own.fence else 1, data)
            self.handover.take(stored)
            self._say(stored)
        self._go_on(now)

    # -- time and effects

    def expire(self, now: float) -> None:
        """Let what is due by *now* take effect."""
        self._go_on(now)

    def next_deadline(self) -> float | None:
        """When `expire` is to be called; None: nothing is waited for."""
        times = [own.ends_at for own in self.own.values() if own.stage is Stage.RUNNING]
        times += [own.give_up_at for own in self.own.values() if own.stage is Stage.CLAIMING]
        if not self._settled(self._now):
            times.append(self._settle_by)
        elif self._franchise() is not None:
            times += [due for own in self.own.values() if (due := self._due(own)) is not None]
        return min(times, default=None)

    def take_effects(self) -> list[CouncilEffect]:
        """What is to be done now, in this order; each effect is handed out once."""
        effects, self._effects = self._effects, []
        return effects

    def condition(self, candidate: int) -> str:
        """Why a candidate stands by, in words; empty if it does not."""
        own = self.own.get(candidate)
        if own is None or own.stage is not Stage.WAITING:
            return ""
        if self.here not in self.line.members:
            return "no ring"
        if self._franchise() is None:
            return "no quorum"
        promise = self.promises.get(own.name)
        if promise is not None and promise.node_id in self.line.nodes:
            return f"node {promise.node_id} runs it"
        return "waits for the end of a lease" if promise is not None else "in line"

    # -- voting

    def _vote(self, sender: Address, claim: Claim, now: float) -> None:
        if self._abstains:
            return
        vote, is_new = self.promises.vote(sender.node_id, sender.pid, claim, now)
        self._highest = max(self._highest, claim.fence)
        self._free_since.pop(claim.name, None)
        if is_new:
            self._effects.append(Keep(self.promises.record(), vote))
        else:
            self._say(vote)

    def _voted(self, sender: Address, vote: Vote, now: float) -> None:
        self._highest = max(self._highest, vote.highest)
        if (vote.node_id, vote.pid) != self.here:
            return
        for own in self.own.values():
            if own.name == vote.name and own.fence == vote.fence and vote.number in own.claims:
                self._counted(own, sender, vote, now)

    def _counted(self, own: Own, sender: Address, vote: Vote, now: float) -> None:
        franchise = self._franchise()
        poll = own.claims[vote.number]
        votes = poll.votes
        votes[sender.node_id] = vote.granted
        if not vote.granted:
            own.retry_at = max(own.retry_at, now + vote.remaining_ms / 1000)
        if franchise is None:
            return
        if franchise.enough(node for node, granted in votes.items() if granted):
            del own.claims[vote.number]
            self._won(own, poll.ends_at, now)
        elif own.stage is Stage.CLAIMING and not franchise.enough(
            node for node in self.line.nodes if votes.get(node, True)
        ):
            self._give_up(own, now if vote.highest >= own.fence else now + self.timing.renew_every)

    def _won(self, own: Own, ends_at: float, now: float) -> None:
        if own.stage is Stage.RUNNING and own.ends_at <= now:
            return  # too late: what is over stays over
        own.ends_at = max(own.ends_at, ends_at)
        if own.stage is Stage.CLAIMING:
            own.stage = Stage.RUNNING
            self._effects.append(Promote(own.candidate, own.fence, own.ends_at, self.handover.data(own.name)))
        elif own.stage is Stage.RUNNING:
            self._effects.append(Extend(own.candidate, own.fence, own.ends_at))

    # -- claiming

    def _claim(self, own: Own, now: float) -> None:
        self._last_number = number = max(self._last_number + 1, int(now * _MICRO))
        lease = self.timing.lease(own.yield_seconds)
        own.claimed(number, now + lease)
        self._say(Claim(own.name, own.fence, number, milliseconds(hold_of(lease)), own.stage is Stage.RUNNING))

    def _claim_term(self, own: Own, now: float) -> None:
        highest = max(self._highest, self.promises.highest)
        if highest >= FENCE_MAX:
            # Only a node gone mad can have said so.  No fence is above it, and a singleton without one must not run.
            own.wait(now + self.timing.vote_wait)
            return
        self._highest = highest + 1
        own.stage, own.fence, own.ends_at = Stage.CLAIMING, self._highest, 0.0
        own.give_up_at = now + self.timing.vote_wait
        self._claim(own, now)

    def _give_up(self, own: Own, retry_at: float) -> None:
        """Those who have voted for the term are to know that it never began, or they wait for its end."""
        self._say(Release(own.name, own.fence))
        own.wait(max(own.retry_at, retry_at))

    def _franchise(self) -> Franchise | None:
        """The votes of this ring; None while this node may not claim anything."""
        franchise = franchise_of(self._count)
        if franchise is None or franchise.ring != self._ring or self.here not in self.line.members:
            return None
        return franchise

    def _settled(self, now: float) -> bool:
        return self.line.complete or now >= self._settle_by

    def _due(self, own: Own) -> float | None:
        """When this candidate is to claim; None while it has nothing to wait for but others."""
        if own.stage is not Stage.WAITING or own.rank is None or own.name not in self._free_since:
            return None
        mine = Place(own.rank, self.here.node_id, own.candidate)
        ahead = sum(place < mine for place in self.line.places(own.name))
        # Those who have what the last runner left are waited for as long as those who are silent.
        data_at = 0.0 if self.handover.head(own.name) >= self.line.best_head(own.name) else self._settle_by
        return max(self._free_since[own.name] + ahead * self.timing.stagger, own.retry_at, data_at)

    def _watch(self, own: Own, now: float) -> None:
        """Note since when nobody has a singleton, or when somebody's lease is over."""
        if any(each.name == own.name and each.stage is not Stage.WAITING for each in self.own.values()):
            self._free_since.pop(own.name, None)
        elif own.name not in self._free_since:
            self._free_since[own.name] = self.promises.held_until(own.name, now)

    # -- what follows from anything that happened

    def _go_on(self, now: float) -> None:
        self._now = now
        self._lapse(now)
        if self.here in self.line.members and self._settled(now):
            self._join_lines()
        self._announce()
        self._hand_on()
        if self._franchise() is None:
            return
        for own in self.own.values():
            if own.stage is Stage.RUNNING and own.wants_more:
                own.wants_more = False
                self._claim(own, now)
            elif self._settled(now):
                self._watch(own, now)
                if (due := self._due(own)) is not None and due <= now:
                    self._free_since.pop(own.name, None)
                    self._claim_term(own, now)

    def _lapse(self, now: float) -> None:
        for own in self.own.values():
            if own.stage is Stage.RUNNING and own.ends_at <= now:
                own.stage = Stage.ENDING
            elif own.stage is Stage.CLAIMING and own.give_up_at <= now:
                self._give_up(own, now + self.timing.stagger)

    def _join_lines(self) -> None:
        for own in self.own.values():
            if own.rank is None:
                own.rank = min(self.line.highest_rank() + 1, RANK_MAX)

    def _announce(self) -> None:
        """Tell the others where this node's candidates stand, if they do not know."""
        if self.here not in self.line.members:
            self._announced = None
            return
        standing = self._standing()
        if standing != self._announced:
            self._announced = standing
            self._say(standing)

    def _standing(self) -> Standing:
        candidates = [
            Candidate(own.name, own.rank or 0, own.candidate, own.fence if own.stage is not Stage.CLAIMING else 0)
            for own in self.own.values()
            if own.rank is not None or own.stage is Stage.RUNNING
            if own.stage is not Stage.ENDING
        ]
        heads = self.handover.heads() if self._announced is None else self._announced.heads
        return Standing(tuple(candidates[:CANDIDATES_MAX]), heads)

    def _hand_on(self) -> None:
        """Of those who have the latest data of a singleton, the first sends it to those who have not."""
        if not self.line.complete:
            return
        for head in self.handover.heads():
            version = (head.fence, head.version)
            if (head.name, *version) in self._resent or self.line.best_head(head.name) != version:
                continue
            if self.line.lacking(head.name, version) and self.line.first_with(head.name, version) == self.here:
                stored = self.handover.get(head.name)
                assert stored is not None
                self._resent.add((head.name, *version))
                self._say(stored)

    def _say(self, message: Message) -> None:
        self._effects.append(Send(message))
