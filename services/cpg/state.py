"""Who is in which group, everywhere: pure, and equal on all nodes that have exchanged their state.

Each operation is applied at its place in the total order and returns the membership changes that it makes, which the
local members of the group are told.  Reference: totem.md §8.2, §8.3; corosync-features.md §5.3 (C2 to C9).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ...ipc.ids import Address, Member, Reason
from .wire import JoinList, Mcast, ProcJoin, ProcLeave

_Condition = Callable[[Address, bytes], bool]


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
    NOT_A_MEMBER = "not a member"
    """The node has members there, but the sender is none (any more)."""


class GroupState:
    """The memberships of all processes of the ring; `process_info` of the reference."""

    def __init__(self, node_id: int, life: int) -> None:
        self._node_id = node_id
        self._life = life
        self._groups: dict[bytes, dict[Address, int]] = {}
        """Group -> member -> life of the cpg process that brought it in."""

    def groups(self) -> list[bytes]:
        """All groups that have a member, sorted."""
        return sorted(self._groups)

    def members(self, group: bytes) -> tuple[Address, ...]:
        """The group's members, sorted."""
        return tuple(sorted(self._groups.get(group, ())))

    def join_list(self) -> JoinList:
        """This node's own processes, for an exchange."""
        own = {
            group: tuple(sorted(address.pid for address in members if address.node_id == self._node_id))
            for group, members in sorted(self._groups.items())
        }
        return JoinList(self._life, {group: pids for group, pids in own.items() if pids})

    def join(self, node: int, message: ProcJoin) -> list[Change]:
        """A process joins; one that is in already changes nothing."""
        address = Address(node, message.pid)
        members = self._groups.setdefault(message.group, {})
        if members.get(address) == message.life:
            return []
        changes = self._remove(message.group, [address], Reason.PROCESS_DOWN) if address in members else []
        return changes + self._add(message.group, {address: message.life}, Reason.JOIN)

    def leave(self, node: int, message: ProcLeave) -> list[Change]:
        """A process leaves; one that is not in changes nothing."""
        address = Address(node, message.pid)
        if self._groups.get(message.group, {}).get(address) != message.life:
            return []
        return self._remove(message.group, [address], message.reason)

    def judge(self, node: int, message: Mcast) -> Verdict:
        """Whether the batch's sender is a member at this place."""
        members = self._groups.get(message.group, {})
        if members.get(Address(node, message.pid)) == message.life:
            return Verdict.DELIVER
        if any(address.node_id == node for address in members):
            return Verdict.NOT_A_MEMBER
        return Verdict.UNKNOWN_NODE

    def service_gone(self, node: int) -> list[Change]:
        """The cpg process of a node of this ring ended."""
        return self._remove_where(lambda address, _: address.node_id == node, Reason.PROCESS_DOWN)

    def exchanged(self, left: Collection[int], lists: Mapping[int, JoinList]) -> list[Change]:
        """A state exchange is complete: nodes *left*; *lists* holds what every node with a known state runs.

        The changes are in the order of C9: nodes that went, then processes that came, then processes that ended
        unseen.  A node that went and returned does both, since it has missed messages.  Own processes never change.
        """
        others = {node: joins for node, joins in sorted(lists.items()) if node != self._node_id}
        departed = frozenset(left) - {self._node_id}
        listed: dict[bytes, dict[Address, int]] = {}
        for node, joins in others.items():
            for group, pids in joins.groups.items():
                listed.setdefault(group, {}).update((Address(node, pid), joins.life) for pid in pids)

        def is_replaced(address: Address, group: bytes) -> bool:
            # Its node's cpg process has another life now: this member ended, even if its successor joined again.
            life = listed.get(group, {}).get(address)
            return life is not None and life != self._groups[group][address]

        def is_ghost(address: Address, group: bytes) -> bool:
            return address.node_id in others and address not in listed.get(group, {})

        gone = self._remove_where(lambda address, _: address.node_id in departed, Reason.NODE_DOWN)
        replaced = self._remove_where(is_replaced, Reason.PROCESS_DOWN)
        came = [change for group in sorted(listed) for change in self._add(group, listed[group], Reason.NODE_UP)]
        ghosts = self._remove_where(is_ghost, Reason.PROCESS_DOWN)
        return gone + replaced + came + ghosts

    def _add(self, group: bytes, lives: Mapping[Address, int], reason: Reason) -> list[Change]:
        members = self._groups.setdefault(group, {})
        new = sorted(lives.keys() - members.keys())
        if not new:
            return []
        members.update((address, lives[address]) for address in new)
        return [Change(group, self.members(group), joined=tuple(Member(*address, reason) for address in new))]

    def _remove_where(self, condition: _Condition, reason: Reason) -> list[Change]:
        return [
            change
            for group in self.groups()
            for change in self._remove(
                group, [address for address in self._groups[group] if condition(address, group)], reason
            )
        ]

    def _remove(self, group: bytes, addresses: Collection[Address], reason: Reason) -> list[Change]:
        if not addresses:
            return []
        members = self._groups[group]
        for address in addresses:
            del members[address]
        left = tuple(Member(*address, reason) for address in sorted(addresses))
        change = Change(group, self.members(group), left=left)
        if not members:
            del self._groups[group]
        return [change]
