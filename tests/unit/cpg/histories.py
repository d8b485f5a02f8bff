"""What must be true of all that the members of all groups saw.

C numbers name what corosync promises the members of a group (cpg_initialize(3), cpg_join(3), exec/cpg.c):

* C1: all members see one sequence of messages and membership changes.
* C2: a joiner's first event is its own join, and every message ordered after that follows.
* C3: everybody sees a change at the same place, with the same sorted list of members.
* C4: a sender gets its own messages back, at their place in the order.
* C5: who leaves gets one last change, with itself in `left`, and nothing after it.
* C6: a process that ends without leaving, or whose node stops in order, is in `left` as PROCDOWN.
* C7: the members of a node that is lost go in one change per group, as NODEDOWN, after its last messages.
* C8: when partitions merge, the members of the other side come as NODEUP; one's own side does not appear.
* C9: at a ring change a group learns first who is down with a node, then who is up, then who ended meanwhile.
* C14: a message of somebody who is no member here is dropped.
* C15: each sender's messages come in its order, whole, and once.

E numbers are the checker's, in tests/sim/simcluster (docs/totem.md §9): E10 one total order, E17 quiet transitions,
E18 an exchange completes at one place.  E19, of groups only: the list of members is the sum of the changes, and whoever
sends is a member.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from bus import Bus, Member, Node, Seen, unconfirmed
from totemd.ipc.ids import RingId
from totemd.services.cpg.events import ConfigChange, Message, Rejoined
from totemd.services.cpg.subscription import Stage, Subscription


def check(bus: Bus) -> None:
    """Check every history of every client, and that the nodes agree at the end."""
    spans: dict[bytes, list[tuple[Node, list[Seen]]]] = defaultdict(list)
    for member, subscription, seen in all_histories(bus):
        check_one(member, subscription, seen)
        for span in stays(seen):
            spans[subscription.group].append((member.node, span))
    for group_spans in spans.values():
        check_common_order(group_spans)
    check_agreement(bus)


def all_histories(bus: Bus) -> Iterator[tuple[Member, Subscription, list[Seen]]]:
    """Of the living and the dead; a dead one's subscriptions are closed."""
    for member in bus.graveyard + [member for node in bus.nodes.values() for member in node.members]:
        for subscription, seen in member.histories:
            if member in bus.graveyard:
                subscription.close()
            yield member, subscription, seen


def stays(seen: list[Seen]) -> Iterator[list[Seen]]:
    """The history, cut where the member was away."""
    span: list[Seen] = []
    for each in seen:
        if isinstance(each.event, Rejoined):
            yield span
            span = []
        else:
            span.append(each)
    yield span


def check_one(member: Member, subscription: Subscription, seen: list[Seen]) -> None:
    """One member's view: first and last event, the member list as a fold, senders that are members, no duplicates."""
    me = (member.node.node_id, member.pid)
    payloads = [each.event.payload for each in seen if isinstance(each.event, Message)]
    assert len(payloads) == len(set(payloads)), "C15: a message came twice"
    for span in stays(seen):
        members: set[tuple[int, int]] = set()
        for index, each in enumerate(span):
            if isinstance(each.event, ConfigChange):
                now = {(who.node_id, who.pid) for who in each.event.members}
                joined = {(who.node_id, who.pid) for who in each.event.joined}
                left = {(who.node_id, who.pid) for who in each.event.left}
                if index == 0:
                    assert me in joined, "C2: the first event is the own join"
                    assert me in now
                else:
                    assert me not in joined, "C8: own members do not join again"
                    assert now == (members | joined) - left, "E19: the member list is the sum of the changes"
                    assert not joined & members
                    assert left <= members
                assert list(each.event.members) == sorted(each.event.members)
                members = now
            elif isinstance(each.event, Message):
                assert index > 0
                assert tuple(each.event.sender) in members, "E19: a sender is a member"
        for each in span[:-1]:
            if isinstance(each.event, ConfigChange):
                assert me not in {(who.node_id, who.pid) for who in each.event.left}, "C5: nothing after the own leave"
    by_sender: dict[tuple[int, int], int] = {}
    for payload in payloads:
        node, pid, number = map(int, payload.split(b":")[0].split(b"."))
        assert by_sender.get((node, pid), 0) < number, "C15: per sender in order"
        by_sender[node, pid] = number
    if subscription.stage is Stage.JOINED:
        sent_and_back = subscription.sent - subscription.delivered_back
        assert sent_and_back == 0, (
            f"C4: {sent_and_back} own messages did not come back, {unconfirmed(seen)} unconfirmed"
        )


def check_common_order(spans: list[tuple[Node, list[Seen]]]) -> None:
    """C1, C3: between two members, everything that both could see is the same, in the same order."""
    for index, one in enumerate(spans):
        for other in spans[:index]:
            check_pair(*one, *other)


def check_pair(p: Node, a: list[Seen], q: Node, b: list[Seen]) -> None:
    rings = {each.tag[0] for each in a if each.tag} & {each.tag[0] for each in b if each.tag}
    for ring in rings:
        left = [(each.tag[1], content(each)) for each in a if each.tag and each.tag[0] == ring]
        right = [(each.tag[1], content(each)) for each in b if each.tag and each.tag[0] == ring]
        for places in (left, right):
            assert [place for place, _ in places] == sorted(place for place, _ in places), "E10: places increase"
        begin = max(left[0][0] if first_of_ring(a, ring) else 0, right[0][0] if first_of_ring(b, ring) else 0)
        end = common_end(p, q, ring)
        for stay in (a, b):
            if is_over(stay, ring):
                end = min(end, max(each.tag[1] for each in stay if each.tag and each.tag[0] == ring))
        assert [each for each in left if begin <= each[0] <= end] == [
            each for each in right if begin <= each[0] <= end
        ], f"C1: nodes {p.node_id} and {q.node_id} saw different sequences on {ring}"


def common_end(p: Node, q: Node, ring: RingId) -> float:
    """How far both nodes deliver the same of a ring: everything if they left it together, else what was regular."""
    if p.went_to.get(ring) == q.went_to.get(ring):
        return float("inf") if ring in p.went_to or ring == p.ring.ring_id == q.ring.ring_id else 0
    return min(p.regular_end.get(ring, 0), q.regular_end.get(ring, 0))


def is_over(stay: list[Seen], ring: RingId) -> bool:
    """Whether the member may have left, or been cut off, on this ring: what came later it need not have seen."""
    tagged = [each.tag[0] for each in stay if each.tag]
    return bool(tagged) and tagged[-1] == ring


def first_of_ring(span: list[Seen], ring: object) -> bool:
    """Whether this stay began on the ring, so that what came before its first event is not its own to see."""
    return bool(span) and span[0].tag is not None and span[0].tag[0] == ring


def content(each: Seen) -> object:
    return each.event.payload if isinstance(each.event, Message) else each.event


def check_agreement(bus: Bus) -> None:
    """At rest in one ring, all nodes know the same members, and those are the ones that believe to be."""
    expected: dict[bytes, set[tuple[int, int]]] = defaultdict(set)
    for member, subscription, _ in all_histories(bus):
        if subscription.stage is not Stage.CLOSED:
            assert subscription.stage is Stage.JOINED, f"{subscription.stage} at rest"
            expected[subscription.group].add((member.node.node_id, member.pid))
    for node in bus.nodes.values():
        assert node.engine is not None
        known = {
            group: {tuple(each) for each in node.engine.state.members(group)} for group in node.engine.state.groups()
        }
        assert known == dict(expected), f"node {node.node_id} knows other members"
        for _, subscription, _ in all_histories(bus):
            if subscription.stage is Stage.JOINED:
                assert {(who.node_id, who.pid) for who in subscription.members} == expected[subscription.group]
