"""What members of process groups may rely on, checked on what the clients of a finished run saw.

G1  the first event of a member is its own join              G6  one order: members that go the same way see the same
G2  the member list is the sum of the changes                G7  an exchange tells all that came the same way the same
G3  the sender of a message is a member                      G8  an exchange is complete at one place of the order,
G4  after its own leave a member sees nothing                    and no message of its ring comes before
G5  who is not in the ring has left before it is announced   G9  messages arrive once, whole, in their sender's order

Source: docs/totem.md §8; cpg_initialize(3), cpg_join(3).  G10: what one process said, another could not read.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from math import inf
from typing import NamedTuple

from simcluster.analysis import Analysis, Ending
from simcluster.group_history import Back, Came, Exchange, GroupHistory, Membership, Place, RingSeen, Said, Seen, Who
from simcluster.history import RingKey
from simcluster.violation import Violation

EXCERPT = 6
"""Events shown before the one in question."""


class Span(NamedTuple):
    """A member's events between two absences."""

    membership: Membership
    seen: list[Seen]
    open: bool
    """The member was there until the end of the run."""


def spans(history: GroupHistory) -> Iterator[Span]:
    """All of them."""
    for membership in history.memberships:
        part: list[Seen] = []
        for each in membership.seen:
            if isinstance(each.event, Back):
                if part:
                    yield Span(membership, part, False)
                part = []
            else:
                part.append(each)
        if part:
            yield Span(membership, part, membership.open)


# -- one member by itself


def g1_own_join_first(history: GroupHistory) -> Iterator[Violation]:
    """A member's first event is the change in which it joins."""
    for span in spans(history):
        who, first = span.membership.who, span.seen[0].event
        if not isinstance(first, Came) or who not in first.joined or who not in first.members:
            yield _at("G1", span, 0, f"the first event is {first}")


def g2_sum_of_changes(history: GroupHistory) -> Iterator[Violation]:
    """Each member list is the one before, with those that joined and without those that left; all lists are sorted."""
    for span in spans(history):
        members: set[Who] | None = None
        for index, each in enumerate(span.seen):
            if not isinstance(each.event, Came):
                continue
            now, joined, left = each.event.members, set(each.event.joined), set(each.event.left)
            if members is not None and set(now) != (members | joined) - left:
                yield _at(
                    "G2", span, index, f"{_names(now)} is not {_names(members)} + {_names(joined)} - {_names(left)}"
                )
            elif members is not None and (joined & members or not left <= members or span.membership.who in joined):
                yield _at("G2", span, index, f"{each.event} does not follow {_names(members)}")
            elif list(now) != sorted(now) or not (joined or left):
                yield _at("G2", span, index, f"{each.event} is in no order, or no change")
            members = set(now)


def g3_sender_is_member(history: GroupHistory) -> Iterator[Violation]:
    """Whoever says something is a member at that point."""
    for span in spans(history):
        members: tuple[Who, ...] = ()
        for index, each in enumerate(span.seen):
            if isinstance(each.event, Came):
                members = each.event.members
            elif isinstance(each.event, Said) and each.event.sender not in members:
                yield _at("G3", span, index, f"{each.event.name} of {each.event.sender}; members are {_names(members)}")


def g4_nothing_after_leaving(history: GroupHistory) -> Iterator[Violation]:
    """The change in which a member leaves is its last event."""
    for span in spans(history):
        for index, each in enumerate(span.seen[:-1]):
            if isinstance(each.event, Came) and span.membership.who in each.event.left:
                yield _at("G4", span, index + 1, f"{span.seen[index + 1].event} after the own leave")


def g5_leave_before_silence(history: GroupHistory) -> Iterator[Violation]:
    """When a ring is announced, every member is on one of its nodes: the others have been seen to leave."""
    for span in spans(history):
        members: tuple[Who, ...] = ()
        for index, each in enumerate(span.seen):
            if isinstance(each.event, Came):
                members = each.event.members
            elif isinstance(each.event, RingSeen):
                gone = [who for who in members if who.node not in each.event.members]
                if gone:
                    yield _at("G5", span, index, f"{_names(gone)} did not leave before {each.event}")


def g9_once_whole_in_order(history: GroupHistory) -> Iterator[Violation]:
    """No message comes twice or changed; those of one process come in the order in which it sent them."""
    for membership in history.memberships:
        last: dict[Who, tuple[int, int]] = {}
        span = Span(membership, membership.seen, membership.open)
        for index, each in enumerate(membership.seen):
            if not isinstance(each.event, Said):
                continue
            if history.said.get(each.event.name) != each.event.digest:
                yield _at("G9", span, index, f"{each.event.name} has other bytes than were sent, or nobody sent it")
                continue
            _, _, life, number = map(int, each.event.name.split("."))
            before = last.get(each.event.sender)
            if before is not None and before >= (life, number):
                yield _at("G9", span, index, f"{each.event.name} comes a second time, or too late")
            last[each.event.sender] = (life, number)


# -- several members


def g8_one_place(history: GroupHistory) -> Iterator[Violation]:
    """An exchange is complete at the same place of the order on all nodes that complete it."""
    for (ring, position), places in history.completions.items():
        if len(places) > 1:
            found = "; ".join(f"{place} at node {node}" for place, node in places.items())
            yield Violation("G8", 0.0, f"the exchange {ring}:{position} was complete at several places: {found}")


def g7_same_exchange(history: GroupHistory) -> Iterator[Violation]:
    """What an exchange changes in a group is the same for all members whose nodes came to it the same way."""
    known: dict[tuple[str, Exchange], tuple[Span, list[object]]] = {}
    for span in spans(history):
        told: dict[Exchange, list[object]] = {}
        for each in span.seen:
            if isinstance(each.cause, Exchange):
                told.setdefault(each.cause, []).append(each.event)
        last = span.seen[-1].cause
        for exchange, events in told.items():
            if exchange == last and not span.open:
                continue  # It may have died in the middle of it.
            other, expected = known.setdefault((span.membership.group, exchange), (span, events))
            if events != expected:
                index = next(number for number, each in enumerate(span.seen) if each.cause == exchange)
                yield _at(
                    "G7", span, index, f"{exchange} brought {events}; to {other.membership} it brought {expected}"
                )


class _Part(NamedTuple):
    """What a span saw of one ring."""

    span: Span
    places: list[Place]
    contents: list[object]
    begin: Place
    end: Place


def g6_one_order(analysis: Analysis, history: GroupHistory) -> Iterator[Violation]:
    """Members whose nodes deliver the same of a ring see the same changes and messages there, in the same order."""
    by_ring: dict[tuple[str, RingKey], list[_Part]] = {}
    for span in spans(history):
        for ring, part in _parts(span).items():
            falls = [late for early, late in pairwise(part.places) if late < early]
            if falls:
                index = next(number for number, each in enumerate(span.seen) if each.cause == falls[0])
                yield _at("G6", span, index, f"{falls[0]} comes late")
            else:
                by_ring.setdefault((span.membership.group, ring), []).append(part)
    for (_, ring), parts in by_ring.items():
        for index, one in enumerate(parts):
            for other in parts[:index]:
                problem = _difference(analysis, ring, one, other)
                if problem is not None:
                    yield problem
                    break


def _parts(span: Span) -> dict[RingKey, _Part]:
    parts: dict[RingKey, _Part] = {}
    for each in span.seen:
        if isinstance(each.cause, Place):
            part = parts.setdefault(each.cause.ring, _Part(span, [], [], *_whole(each.cause.ring)))
            part.places.append(each.cause)
            part.contents.append(each.event)
    causes = [each.cause for each in span.seen if each.cause is not None]
    if causes and isinstance(causes[0], Place):
        first = parts[causes[0].ring]
        parts[causes[0].ring] = first._replace(begin=first.places[0])
    # A member that ended may have missed what came after its last event, on the ring where that was.
    if causes and not span.open and causes[-1].ring in parts:
        last = parts[causes[-1].ring]
        parts[causes[-1].ring] = last._replace(end=last.places[-1])
    return parts


def _difference(analysis: Analysis, ring: RingKey, one: _Part, other: _Part) -> Violation | None:
    together = common_end(analysis, ring, one.span.membership.who.node, other.span.membership.who.node)
    begin = max(one.begin, other.begin)
    end = min(one.end, other.end, _whole(ring)[1] if together == inf else Place(ring, int(together), _LAST))
    ours, theirs = _between(one, begin, end), _between(other, begin, end)
    if ours == theirs:
        return None
    index = next((number for number, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    index = min(len(ours), len(theirs)) if index is None else index
    mine = _text(ours[index]) if index < len(ours) else "nothing more"
    yours = _text(theirs[index]) if index < len(theirs) else "nothing more"
    what = f"from {begin} to {end}: {mine}, but {other.span.membership} saw {yours}"
    place = one.places[min(bisect_left(one.places, begin) + index, len(one.places) - 1)]
    number = next(number for number, each in enumerate(one.span.seen) if each.cause == place)
    return _at("G6", one.span, number, what)


def _between(part: _Part, begin: Place, end: Place) -> list[tuple[Place, object]]:
    low, high = bisect_left(part.places, begin), bisect_right(part.places, end)
    return list(zip(part.places[low:high], part.contents[low:high], strict=True))


_LAST = 2**31
"""More than any position or index."""


def _whole(ring: RingKey) -> tuple[Place, Place]:
    return Place(ring, 0), Place(ring, _LAST, _LAST)


def _text(item: tuple[Place, object]) -> str:
    return f"{item[1]} at {item[0]}"


def common_end(analysis: Analysis, ring: RingKey, one: int, other: int) -> float:
    """How far two nodes deliver the same of a ring: all of it if they leave it together, else what both had in it."""
    stays = analysis.stays.get(ring, {})
    mine, yours = stays.get(one), stays.get(other)
    if mine is None or yours is None:
        return 0
    if one == other:
        return inf
    if mine.transitional is not None and yours.transitional is not None:
        if mine.transitional.configuration == yours.transitional.configuration:
            return inf
    elif mine.ending is Ending.PENDING and yours.ending is Ending.PENDING and mine.transitional is yours.transitional:
        return inf
    ends = (stay.regular.deliveries[-1].event.position if stay.regular.deliveries else 0 for stay in (mine, yours))
    return min(ends)


# -- all of them

SINGLE: tuple[Callable[[GroupHistory], Iterable[Violation]], ...] = (
    g1_own_join_first,
    g2_sum_of_changes,
    g3_sender_is_member,
    g4_nothing_after_leaving,
    g5_leave_before_silence,
    g7_same_exchange,
    g8_one_place,
    g9_once_whole_in_order,
)


def check_groups(analysis: Analysis, history: GroupHistory, per_property: int = 3) -> list[Violation]:
    """All violations, at most *per_property* of each, the earliest first."""
    found = list(history.violations)
    for prop in SINGLE:
        found.extend(sorted(prop(history), key=lambda violation: violation.time)[:per_property])
    found.extend(sorted(g6_one_order(analysis, history), key=lambda violation: violation.time)[:per_property])
    return sorted(found, key=lambda violation: violation.time)


def count_groups(history: GroupHistory, coverage: Counter[str]) -> None:
    """Count the situations that only histories of groups show."""
    for membership in history.memberships:
        coverage[f"membership.{membership.stage}"] += 1
        if membership.why:
            coverage[f"membership.ended_by.{membership.why}"] += 1
        for each in membership.seen:
            if isinstance(each.event, Came):
                coverage.update(f"membership.{reason}" for reason in each.event.reasons)


def _at(prop: str, span: Span, index: int, what: str) -> Violation:
    lines = [f"{span.membership}: {what}"]
    for number in range(max(0, index - EXCERPT), min(len(span.seen), index + 2)):
        each = span.seen[number]
        lines.append(f"  {'>' if number == index else ' '} {each.time:10.6f}  {each.event} by {each.cause}")
    return Violation(prop, span.seen[index].time, "\n".join(lines))


def _names(members: Iterable[Who]) -> str:
    return "{" + ",".join(str(who) for who in sorted(members)) + "}"
