"""How the votes stand, in the words of clients, logs and cmap: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ...ipc.ids import RingId
from ...ipc.messages.quorum import VOTES_MAX, Count, NodeVotes
from .rules import HIGHEST, LOWEST, Rules
from .votes import Tally, quorum_of
from .wire import Record


def count_of(
    tally: Tally | None,
    record: Record,
    *,
    ring: RingId | None,
    node_id: int,
    names: Mapping[int, str],
    losses: int,
) -> Count:
    """How it stands, for clients; without a *tally* what this node's *record* says, and no quorum."""
    if tally is None:
        rules, expected = record.rules, record.expected
        nodes: tuple[NodeVotes, ...] = ()
    else:
        rules, expected = tally.rules, tally.expected
        nodes = tuple(NodeVotes(node, tally.voters[node].votes, names.get(node, "")) for node in sorted(tally.voters))
    quorate = tally is not None and tally.quorate
    return Count(
        quorate=quorate,
        node_id=node_id,
        ring=ring if tally is not None else None,
        nodes=nodes,
        expected_votes=expected,
        total_votes=min(VOTES_MAX, tally.total) if tally is not None else 0,
        quorum=quorum_of(expected, len(nodes), rules),
        flags=tuple(_flags(rules, quorate)),
        waiting_for_all=record.waiting and rules.wait_for_all if tally is None else tally.waiting,
        losses=losses,
    )


def _flags(rules: Rules, quorate: bool) -> Iterator[str]:
    """In the order of corosync-quorumtool."""
    named = (
        ("2Node", rules.two_node),
        ("Quorate", quorate),
        ("WaitForAll", rules.wait_for_all),
        ("LastManStanding", rules.last_man_standing),
        ("AutoTieBreaker", bool(rules.tie_breaker)),
        ("AllowDownscale", rules.allow_downscale),
    )
    return (name for name, holds in named if holds)


def members_line(nodes: Collection[int], what: str = "Members") -> str:
    """`Members[2]: 1 2`, as corosync logs it."""
    return f"{what}[{len(nodes)}]: {' '.join(map(str, nodes))}".rstrip()


def joined_and_left(before: Collection[int], after: Collection[int], members: Collection[int]) -> Iterator[str]:
    """What corosync logs when nodes have come together: who is there, who came, who is gone."""
    yield members_line(sorted(members), "Sync members")
    if joined := sorted(set(after) - set(before)):
        yield members_line(joined, "Sync joined")
    if left := sorted(set(before) - set(after)):
        yield members_line(left, "Sync left")


def keys(tally: Tally | None, record: Record, node_id: int, tracked: int) -> dict[str, str | int]:
    """`runtime.votequorum.*`, as corosync has them."""
    rules = record.rules if tally is None else tally.rules
    seen = sorted(record.seen or ([node_id] if tally is None else tally.voters))
    breaker = 0 if not rules.tie_breaker else {LOWEST: 1, HIGHEST: 2}.get(rules.tie_breaker, 3)
    values: dict[str, str | int] = {
        "two_node": int(rules.two_node),
        "this_node_id": node_id,
        "ev_barrier": record.floor,
        "ev_tracking_barrier": tracked,
        "lowest_node_id": seen[0] if seen else node_id,
        "highest_node_id": seen[-1] if seen else node_id,
        "wait_for_all_status": int(rules.wait_for_all and record.waiting),
        "atb_type": breaker,
        "qdevice_can_operate": 0,
        "qdevice_master_wins": 0,
    }
    return {f"runtime.votequorum.{key}": value for key, value in values.items()}
