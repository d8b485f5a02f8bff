"""Storms over locks: processes that want, hold and release one while everything that can go wrong does.

What decides is the code of `Lock` and `Leader`: the machine `Turns` and `next_step`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from stage import Actor
from storm import Storm
from totemd.ipc.ids import Address
from totemd.services.replica.driver import Outcome
from totemd.services.replica.effects import Status
from totemd.services.replica.errors import OutcomeUnknown
from totemd.services.replica.policy import Policy
from totemd.services.replica.turns import ENTRY_BITS, Ask, Entry, Step, Turns, Yield, encode, next_step, strays

CUT_OFF_SHARE = 0.3
"""Of the faults are at the worst moment, if there is one."""


class Clerk(Actor):
    """A process that uses a lock as `lines.Lock` does."""

    grants: list[tuple[int, Clerk, Entry]]
    """Of all clerks of a storm, in the order of time; set by it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.wanted: Entry | None = None
        self.fence = 0
        """Of the lock that is held; 0: none is."""
        self.asked: dict[int, tuple[Step | None, Entry]] = {}
        """What each ticket was for; None is the end of a place."""
        self.served = 0

    @property
    def turns(self) -> Turns:
        assert isinstance(self.journal, Turns)
        return self.journal

    @property
    def is_away(self) -> bool:
        assert self.driver is not None
        return self.subscription_of is not None and self.subscription_of.absences != self.driver.absences

    @property
    def may_work(self) -> bool:
        return self.status is Status.ACTIVE and not self.is_away

    @property
    def holds(self) -> bool:
        return bool(self.fence) and self.may_work and self.turns.first == self.wanted

    def take(self) -> bool:
        """One event of the group, after which it goes on at once, as those who wait in `Lock.acquire` do."""
        if not super().take():
            return False
        if self.driver is not None and self.status is not Status.CLOSED:
            self.go_on()
        return True

    def propose(self, size: int = 0) -> bytes | None:
        """The next thing that a user of a lock does."""
        if self.driver is None or self.status is Status.CLOSED:
            return None
        if self.fence:
            self.give_up()
        elif self.wanted is None:
            self.wanted = self.new_entry()
        elif self.stage.random.random() < 0.1:
            self.give_up()
        self.go_on()
        return None

    def new_entry(self) -> Entry:
        return (self.node.node_id, self.pid, self.stage.random.getrandbits(ENTRY_BITS))

    def go_on(self) -> None:
        if self.may_work:
            for stray in strays(self.turns, Address(self.node.node_id, self.pid), self.wanted):
                if not any(entry == stray for _, entry in self.asked.values()):
                    self.submit(None, stray, encode(Yield(stray)))
        wanted = self.wanted
        if wanted is None or self.fence or any(entry == wanted for _, entry in self.asked.values()):
            return
        step = next_step(self.turns, wanted, self.may_work)
        if step is not Step.WAIT:
            self.submit(step, wanted, encode(Ask(wanted, self.turns.fence)) if step is Step.ASK else None)

    def give_up(self) -> None:
        entry, self.wanted, self.fence = self.wanted, None, 0
        assert entry is not None
        self.submit(None, entry, encode(Yield(entry)))

    def submit(self, step: Step | None, entry: Entry, command: bytes | None) -> None:
        assert self.driver is not None
        now = self.stage.now
        ticket = self.driver.barrier(now) if command is None else self.driver.propose(command, now)
        self.asked[ticket] = (step, entry)
        self.after()

    def after(self) -> None:
        assert self.driver is not None
        for ticket, outcome in self.driver.take_outcomes():
            self.answered(*self.asked.pop(ticket), outcome)
        if self.driver.core.status is Status.CLOSED and self.subscription_of is not None:
            self.channel.leave(self.subscription_of)

    def answered(self, step: Step | None, entry: Entry, outcome: Outcome) -> None:
        if isinstance(outcome.error, OutcomeUnknown):
            if step is None:
                self.submit(None, entry, encode(Yield(entry)))
            return
        assert outcome.error is None
        if step is Step.VERIFY and entry == self.wanted and self.may_work and self.turns.first == entry:
            self.fence = self.turns.fence
            self.served += 1
            self.grants.append((self.fence, self, entry))


class LineStorm(Storm):
    """One run."""

    def __init__(self, seed: int, policy: Policy, nodes: int, steps: int = 200, pids: Sequence[int] = (7,)) -> None:
        self.grants: list[tuple[int, Clerk, Entry]] = []
        Clerk.grants = self.grants
        self.first_of: dict[tuple[bytes, int], Entry] = {}
        """Whose turn a fence was, in each session."""
        super().__init__(seed, policy, nodes, Turns, steps, actor=Clerk, pids=pids, padding=None)

    def clerks(self) -> list[Clerk]:
        return [actor for actor in self.stage.actors() if isinstance(actor, Clerk)]

    def fault(self) -> None:
        if self.random.random() >= CUT_OFF_SHARE or not self.cut_off_a_yield():
            super().fault()

    def cut_off_a_yield(self) -> bool:
        """The worst moment: a holder gives up, and its node is cut off with that.  Its neighbour seems to be next."""
        holders = [clerk for clerk in self.clerks() if clerk.holds]
        if not holders:
            return False
        holder = self.random.choice(holders)
        self.events.append(f"cut off {holder.node.node_id}")
        holder.give_up()
        while holder.talk() or holder.node.originate():
            pass
        self.regroup([{holder.node.node_id}, set(self.stage.nodes) - {holder.node.node_id}])
        return True

    def check(self) -> None:
        live = [clerk for clerk in self.clerks() if clerk.driver is not None and clerk.driver.core.follower.live]
        for one, other in itertools.combinations(live, 2):
            if self.session(one) == self.session(other):
                assert not (one.holds and other.holds), f"two holders in one component: {self.events}"
        for clerk in live:
            if clerk.turns.first is not None:
                key = (self.session(clerk), clerk.turns.fence)
                assert self.first_of.setdefault(key, clerk.turns.first) == clerk.turns.first, "a fence for two"
        if self.majority:
            for (fence, one, entry), (next_fence, other, next_entry) in itertools.pairwise(self.grants):
                assert fence < next_fence or (one, entry) == (other, next_entry), "a fence that did not grow"

    def check_end(self) -> None:
        """Nobody stands in the way: everybody gets it once more."""
        clerks = self.clerks()
        assert [clerk.status for clerk in clerks] == [Status.ACTIVE] * len(clerks)
        for clerk in clerks:
            clerk.served = 0
        for _ in range(40 * len(clerks)):
            for clerk in clerks:
                if clerk.fence:
                    clerk.give_up()
                elif not clerk.served and clerk.wanted is None:
                    clerk.wanted = clerk.new_entry()
                clerk.go_on()
                self.stage.settle()
                self.check()
        assert all(clerk.served for clerk in clerks), "somebody never gets it"
        states = {(clerk.turns.fence, tuple(clerk.turns.line)) for clerk in clerks}
        assert len(states) == 1 and states.pop()[1] == (), "everybody has released it, and all agree"
