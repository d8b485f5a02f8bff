"""Who is in which group, everywhere: pure, and equal on all nodes that have exchanged their state.

Each operation is applied at its place in the total order and returns the membership changes that it makes, which the
local members of the group are told.  Source: docs/totem.md §8; for what members are told and in which order,
cpg_initialize(3) and corosync's exec/cpg.c.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ...ipc.ids import Address, Member, Reason
from .wire import JoinList, Mcast, ProcJoin, ProcLeave


@dataclass(frozen=True, slots=True)
class Change:
    """One membership change of one group; all three lists are sorted."""

    group: bytes
    members: tuple[Address, ...]
    joined: tuple[Member, ...] = ()
    left: tuple[Member, ...] = ()


class Verdict(enum.Enum):
    """Whether a batch may be delivered."""

    DELIVER = "deliver"
    UNKNOWN_NODE = "unknown node"
    """The sender's node has no member in the group: the nodes are not synchronised, or it is a straggler."""
    UNKNOWN_PROCESS = "unknown process"
    """The node has members there, but the sender is none (any more)."""


class GroupState:
    """The memberships of all processes of the ring; corosync's `process_info` list (exec/cpg.c).

    Each node's *life* is known from its state at the last exchange; what an earlier life of its cpg process left in a
    queue changes nothing.
    """

    def __init__(self, node_id: int, life: int) -> None:
        self._node_id = node_id
        self._life = life
        self._lives: dict[int, int] = {}
        self._groups: dict[bytes, set[Address]] = {}

    def groups(self) -> list[bytes]:
        """All groups that have a member, sorted."""
        return sorted(self._groups)

    def members(self, group: bytes) -> tuple[Address, ...]:
        """The group's members, sorted."""
        return tuple(sorted(self._groups.get(group, ())))

    def join_list(self) -> JoinList:
        """This node's own processes, for an exchange."""
        own = {
            group: tuple(address.pid for address in self.members(group) if address.node_id == self._node_id)
            for group in self.groups()
        }
        return JoinList(self._life, {group: pids for group, pids in own.items() if pids})

    def is_current(self, node: int, life: int) -> bool:
        """Whether this is the life of the cpg process that runs on the node, as last exchanged."""
        return self._lives.get(node) == life

    def join(self, node: int, message: ProcJoin) -> list[Change]:
        """A process joins; one that is in already, or was let in by an earlier life, changes nothing."""
        if not self.is_current(node, message.life):
            return []
        return self._add(message.group, {Address(node, message.pid)}, Reason.JOIN)

    def leave(self, node: int, message: ProcLeave) -> list[Change]:
        """A process leaves; one that is not in changes nothing."""
        if not self.is_current(node, message.life):
            return []
        return self._remove(message.group, {Address(node, message.pid)}, message.reason)

    def judge(self, node: int, message: Mcast) -> Verdict:
        """Whether the batch's sender is a member at this place."""
        members = self._groups.get(message.group, ())
        if Address(node, message.pid) in members and self.is_current(node, message.life):
            return Verdict.DELIVER
        if any(address.node_id == node for address in members):
            return Verdict.UNKNOWN_PROCESS
        return Verdict.UNKNOWN_NODE

    def service_gone(self, node: int) -> list[Change]:
        """The cpg process of a node of this ring ended."""
        self._lives.pop(node, None)
        return self._remove_nodes({node}, Reason.PROCESS_DOWN)

    def exchanged(
        self, left: Collection[int], lists: Mapping[int, JoinList], without: Collection[int] = ()
    ) -> list[Change]:
        """A state exchange is complete: nodes *left*; *lists* holds what each runs, and nothing runs on *without*.

        The changes are in corosync's order: nodes that went, then processes that came, then processes that ended
        unseen.  A node that went and returned does both, since it has missed messages.  Own processes never change.
        """
        others = {node: joins for node, joins in lists.items() if node != self._node_id}
        listed: dict[bytes, set[Address]] = {}
        for node, joins in others.items():
            for group, pids in joins.groups.items():
                listed.setdefault(group, set()).update(Address(node, pid) for pid in pids)
        # Members of an earlier life ended, even where a process of the same pid has joined again.
        restarted = {node for node, joins in others.items() if self._lives.get(node, joins.life) != joins.life}
        settled = (others.keys() | set(without)) - {self._node_id}

        changes = self._remove_nodes(set(left) - {self._node_id}, Reason.NODE_DOWN)
        changes += self._remove_nodes(restarted, Reason.PROCESS_DOWN)
        for group in sorted(listed):
            changes += self._add(group, listed[group], Reason.NODE_UP)
        for group in self.groups():
            known = {address for address in self._groups[group] if address.node_id in settled}
            changes += self._remove(group, known - listed.get(group, set()), Reason.PROCESS_DOWN)

        for node in {*left, *without}:
            self._lives.pop(node, None)
        self._lives.update((node, joins.life) for node, joins in lists.items())
        return changes

    def _add(self, group: bytes, addresses: Collection[Address], reason: Reason) -> list[Change]:
        members = self._groups.get(group, set())
        new = sorted(set(addresses) - members)
        if not new:
            return []
        self._groups[group] = members.union(new)
        return [Change(group, self.members(group), joined=tuple(Member(*address, reason) for address in new))]

    def _remove_nodes(self, nodes: Collection[int], reason: Reason) -> list[Change]:
        changes: list[Change] = []
        for group in self.groups() if nodes else ():
            gone = {address for address in self._groups[group] if address.node_id in nodes}
            changes += self._remove(group, gone, reason)
        return changes

    def _remove(self, group: bytes, addresses: Collection[Address], reason: Reason) -> list[Change]:
        members = self._groups.get(group, set())
        gone = sorted(members & set(addresses))
        if not gone:
            return []
        self._groups[group] = members.difference(gone)
        change = Change(group, self.members(group), left=tuple(Member(*address, reason) for address in gone))
        if not self._groups[group]:
            del self._groups[group]
        return [change]
