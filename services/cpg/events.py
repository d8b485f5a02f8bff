"""What a member of a group gets, in the order in which every member gets it."""

from __future__ import annotations

import msgspec

from ...ipc.ids import Address, Guarantee, Member, RingId


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message of a member of the group, perhaps of this one."""

    sender: Address
    payload: bytes
    group: str = ""
    guarantee: Guarantee = Guarantee.AGREED
    sent_in: RingId | None = None
    """The ring that the sender's node was in when the message was handed to it.  An earlier one than the current: the
    sender did not know the present membership yet."""


class ConfigChange(msgspec.Struct, frozen=True):
    """The group's membership changed; all tuples are sorted by (node id, pid)."""

    members: tuple[Member, ...]
    """From here on; their `reason` is UNDEFINED."""
    joined: tuple[Member, ...] = ()
    left: tuple[Member, ...] = ()
    group: str = ""


class RingChange(msgspec.Struct, frozen=True):
    """The nodes that form the ring changed.  The membership changes that follow from it have come before."""

    ring: RingId
    members: tuple[int, ...]
    """Node ids, sorted."""


class Rejoined(msgspec.Struct, frozen=True):
    """This member was away: a process of its node died.  Messages may have been missed; what comes next is new.

    The `ConfigChange` in which it joins again follows.
    """

    unconfirmed: int
    """Own messages that were sent and not delivered back.  Others may have got them or not; they are never resent."""
    group: str = ""


Event = Message | ConfigChange | RingChange | Rejoined
