"""Extended virtual synchrony as members of a group can see it, checked on their histories.

The simulation's checker knows each message's place on its ring; members do not.  What they know is enough for these:

 B1  the member list is the sum of all joins and leaves; a member sees itself come first
 B2  nobody but a member is heard
 B3  one total order: no two members disagree, not even by way of third ones, nor with what a sender had received before
 B4  of each sender without a gap, as long as it stays
 B5  own messages come back, in order (the last life of a member gets all of them)
 B6  virtual synchrony: members that go together from one ring to the next have seen the same in the first, messages and
     changes alike; both say that they have gone together, or neither does; and so on the last ring, up to the end
 B7  in the end all who are there are the members, as each of them sees it
 B8  who got a safe message, and then back on the same ring what it sent after that, got it while the ring stood:
     every member has got it, too, even those that went another way, unless it failed on that ring
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, combinations, pairwise
from typing import NamedTuple

from chaoskit.records import Changed, Ending, Life, MessageKey, OnRing, Process, Received, Records, Seen
from simcluster.history import Incarnation, RingKey
from simcluster.violation import Violation

PARTS_MAX = 1_000
"""Lives of one process; more than a run can have."""

SAFE = 3
"""`totemd.Guarantee.SAFE`."""

JOIN = 1
"""`totemd.Reason.JOIN`: the process came while the other one was there."""

VIOLATIONS_MAX = 3
"""Of each property; more only hide the first."""


def incarnation(life: Life) -> Incarnation:
    """The name of a life in the simulation's terms."""
    return Incarnation(life.process.node, life.incarnation * PARTS_MAX + life.part)


def check(records: Records) -> list[Violation]:
    """All violations, at most `VIOLATIONS_MAX` of each property, the earliest first."""
    found: list[Violation] = []
    for prop in PROPERTIES:
        found += sorted(prop(records), key=lambda violation: violation.time)[:VIOLATIONS_MAX]
    return sorted(found, key=lambda violation: violation.time)


def b1_membership(records: Records) -> Iterator[Violation]:
    """Each member list follows from the one before it."""
    for life in records.lives:
        before: set[Process] | None = None
        for seen in life.seen:
            change = seen.what
            if before is None and (
                not isinstance(change, Changed) or life.process not in {move.process for move in change.joined}
            ):
                yield _violation("B1", life, seen, f"the first that it sees is not its own join but {change}")
            if not isinstance(change, Changed):
                before = before or set()
                continue
            joined, left = ({move.process for move in moves} for moves in (change.joined, change.left))
            after = set(change.members)
            if list(change.members) != sorted(after):
                yield _violation("B1", life, seen, f"not a sorted list: {change}")
            if before is not None and (after != (before | joined) - left or joined & before or left - before):
                yield _violation("B1", life, seen, f"{change} does not follow from {sorted(before)}")
            before = after


def b2_members_only(records: Records) -> Iterator[Violation]:
    """The sender of a message is a member when it is delivered."""
    for life in records.lives:
        members: tuple[Process, ...] = ()
        for seen in life.seen:
            if isinstance(seen.what, Changed):
                members = seen.what.members
            elif isinstance(seen.what, Received) and seen.what.sender not in members:
                yield _violation("B2", life, seen, f"{seen.what} of {seen.what.sender}, who is no member")


def b3_total_order(records: Records) -> Iterator[Violation]:
    """What comes after what, for every member and sender, has no cycle."""
    after: dict[MessageKey, set[MessageKey]] = {}
    for life in records.lives:
        messages = [received.message for _, received in life.received()]
        for one, other in pairwise(messages):
            after.setdefault(one, set()).add(other)
    delivered = {received.message for life in records.lives for _, received in life.received()}
    for message, submission in records.submissions.items():
        if message in delivered and submission.before is not None:
            after.setdefault(submission.before, set()).add(message)
    cycle = _cycle(after)
    if cycle:
        yield from _explain_cycle(records, cycle)


def _cycle(after: dict[MessageKey, set[MessageKey]]) -> list[MessageKey]:
    """Some messages, each of which comes before the next, and the last before the first; empty if there are none."""
    before: dict[MessageKey, set[MessageKey]] = {}
    for one, others in after.items():
        before.setdefault(one, set())
        for other in others:
            before.setdefault(other, set()).add(one)
    waiting = {message: len(earlier) for message, earlier in before.items()}
    ready = deque(message for message, count in waiting.items() if count == 0)
    while ready:
        message = ready.popleft()
        del waiting[message]
        for other in after.get(message, ()):
            waiting[other] -= 1
            if waiting[other] == 0:
                ready.append(other)
    if not waiting:
        return []
    # Everybody who still waits does so for somebody who waits too: going back from one to the next must repeat.
    path, place = [min(waiting)], {}
    while path[-1] not in place:
        place[path[-1]] = len(path) - 1
        path.append(min(each for each in before[path[-1]] if each in waiting))
    return path[place[path[-1]] : -1][::-1]


def _explain_cycle(records: Records, cycle: list[MessageKey]) -> Iterator[Violation]:
    text = " before ".join(map(str, [*cycle, cycle[0]]))
    for life in records.lives:
        for time, received in life.received():
            if received.message == cycle[0]:
                yield Violation("B3", time, f"no order of all: {text}", ((incarnation(life), 0),))
                return


def b4_no_gap(records: Records) -> Iterator[Violation]:
    """A sender's numbers follow each other at a receiver that has not seen it leave in between."""
    for life in records.lives:
        last: dict[Process, int] = {}
        for seen in life.seen:
            match seen.what:
                case Changed(left=left):
                    for move in left:
                        last.pop(move.process, None)
                case Received(message=message, sender=sender):
                    if sender in last and message.number != last[sender] + 1:
                        yield _violation("B4", life, seen, f"{message} after number {last[sender]} of the same sender")
                    last[sender] = message.number
                case _:
                    pass


def b5_own_messages(records: Records) -> Iterator[Violation]:
    """A member that is there in the end has got back all that it sent since it came."""
    last_own: dict[tuple[int, int], MessageKey] = {}
    for message, submission in records.submissions.items():
        if not submission.unsent:
            me = message[:2]
            last_own[me] = max(message, last_own.get(me, message))
    for life in records.lives:
        me = (life.process.node, life.incarnation)
        wanted = last_own.get(me)
        if life.ending is not Ending.OPEN or wanted is None or not life.seen:
            continue
        own = [received.message for _, received in life.received() if received.message[:2] == me]
        if not own or own[-1] != wanted:
            what = f"sent {wanted} last, got back {own[-1] if own else 'nothing'}"
            yield _violation("B5", life, life.seen[-1], what)


class _Leg(NamedTuple):
    """What a member saw on the way to a ring, the change of ring included; or from its last ring to the end."""

    life: Life
    came_from: RingKey | None
    """None: it joined on the way."""
    seen: list[Seen]
    members_before: tuple[Process, ...]
    """When it began."""

    def __str__(self) -> str:
        end = self.seen[-1].what if self.seen and isinstance(self.seen[-1].what, OnRing) else "the end"
        return f"from {self.came_from or 'its join'} to {end}"

    def parted_from(self, other: Process) -> bool:
        """Whether it says that the other one went or came on the way."""
        return any(
            move.process == other
            for each in self.seen
            if isinstance(each.what, Changed)
            for _, move in each.what.moves()
        )

    def since_join_of(self, other: Process) -> list[Seen] | None:
        """What it saw from the other one's join on; None: they were apart afterwards, or it never came."""
        for index in range(len(self.seen) - 1, -1, -1):
            change = self.seen[index].what
            if isinstance(change, Changed):
                reason = next((move.reason for move in change.joined if move.process == other), None)
                if reason is not None:
                    return self.seen[index:] if reason == JOIN else None
                if any(move.process == other for move in change.left):
                    return None
        return None


def b6_virtual_synchrony(records: Records) -> Iterator[Violation]:
    """Compare all members that arrived at a ring, two by two."""
    for legs in _legs(records).values():
        for one, other in combinations(legs, 2):
            if one.life.process != other.life.process:
                yield from _compare(one, other)


def _legs(records: Records) -> dict[RingKey | None, list[_Leg]]:
    """All legs by where they lead to; None: to the end of the run."""
    legs: dict[RingKey | None, list[_Leg]] = {}
    for life in records.lives:
        came_from, began = None, 0
        members: tuple[Process, ...] = ()
        before: tuple[Process, ...] = ()
        for index, seen in enumerate(life.seen):
            if isinstance(seen.what, Changed):
                members = seen.what.members
            elif isinstance(seen.what, OnRing):
                ring = seen.what.ring
                legs.setdefault(ring, []).append(_Leg(life, came_from, life.seen[began : index + 1], before))
                came_from, began, before = ring, index + 1, members
        if life.ending is Ending.OPEN:
            legs.setdefault(None, []).append(_Leg(life, came_from, life.seen[began:], before))
    return legs


def _compare(one: _Leg, other: _Leg) -> Iterator[Violation]:
    for first, second in ((one, other), (other, one)):
        if first.came_from is None and (common := second.since_join_of(first.life.process)) is not None:
            yield from _same(first, first.seen, second, common)
            return
    apart = one.parted_from(other.life.process), other.parted_from(one.life.process)
    if apart[0] is not apart[1]:
        says, silent = (one, other) if apart[0] else (other, one)
        what = f"on the way {says} it parted from {silent.life}, who knows nothing of that"
        yield _violation("B6", says.life, says.life.seen[-1], what)
    elif not apart[0]:
        if one.came_from != other.came_from:
            what = f"{one}; but {other.life}, never parted from, {other}"
            yield _violation("B6", one.life, one.life.seen[-1], what)
        yield from _same(one, one.seen, other, other.seen)


def _same(one: _Leg, ours: list[Seen], other: _Leg, theirs: list[Seen]) -> Iterator[Violation]:
    for index in range(max(len(ours), len(theirs))):
        mine = ours[index] if index < len(ours) else None
        yours = theirs[index] if index < len(theirs) else None
        if mine is None or yours is None or mine.what != yours.what:
            at = mine or yours
            assert at is not None
            what = f"on the way {one}, place {index}: {_text(mine)}; {other.life}: {_text(yours)}"
            yield _violation("B6", one.life, at, what)
            return


def b7_one_end(records: Records) -> Iterator[Violation]:
    """Those who are there in the end know of each other, and of nobody else."""
    there = [life for life in records.lives if life.ending is Ending.OPEN and life.seen]
    for life in there:
        members = next((seen.what.members for seen in reversed(life.seen) if isinstance(seen.what, Changed)), ())
        if sorted(each.process for each in there) != list(members):
            yield _violation("B7", life, life.seen[-1], f"its last members are {members}")


def b8_safe(records: Records) -> Iterator[Violation]:
    """Safe messages of which it is known that they were delivered in the regular configuration (E14).

    Members are not told where the transitional configuration begins.  But nothing is sent in it: who gets an own
    message that it has sent when it had the safe one already was in the regular configuration in between.
    """
    stays: dict[RingKey, list[_Leg]] = {}
    for leg in chain.from_iterable(_legs(records).values()):
        if leg.came_from is not None:
            stays.setdefault(leg.came_from, []).append(leg)
    for legs in stays.values():
        got = [{each.what.message for each in leg.seen if isinstance(each.what, Received)} for leg in legs]
        for one in legs:
            for seen, message, members in _surely_safe(one, records):
                for other, has in zip(legs, got, strict=True):
                    if other.life.process in members and message not in has:
                        what = f"{message} was safe on ring {one.came_from}; {other.life} never got it {other}"
                        yield _violation("B8", one.life, seen, what)


def _surely_safe(leg: _Leg, records: Records) -> Iterator[tuple[Seen, MessageKey, tuple[Process, ...]]]:
    """The safe messages of a leg that came in its regular configuration, with the members at that time."""
    me = (leg.life.process.node, leg.life.incarnation)
    places = {each.what.message: place for place, each in enumerate(leg.seen) if isinstance(each.what, Received)}
    own = [records.submissions[message] for message in places if message[:2] == me and message in records.submissions]
    end = max((places[each.before] for each in own if each.before in places), default=-1)
    members = leg.members_before
    for seen in leg.seen[: end + 1]:
        match seen.what:
            case Changed():
                members = seen.what.members
            case Received(message, guarantee=guarantee) if guarantee == SAFE:
                yield seen, message, members
            case _:
                pass


def _text(seen: Seen | None) -> str:
    return "nothing more" if seen is None else str(seen.what)


def _violation(prop: str, life: Life, seen: Seen, what: str) -> Violation:
    return Violation(prop, seen.time, f"{life}: {what}", ((incarnation(life), 0),))


PROPERTIES: tuple[Callable[[Records], Iterable[Violation]], ...] = (
    b1_membership,
    b2_members_only,
    b3_total_order,
    b4_no_gap,
    b5_own_messages,
    b6_virtual_synchrony,
    b7_one_end,
    b8_safe,
)
