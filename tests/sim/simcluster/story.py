"""Hand-made histories, for tests of the checker: told process by process, in the order of time."""

from __future__ import annotations

from simcluster.history import (
    Delivered,
    Event,
    Failed,
    History,
    Incarnation,
    Lane,
    MessageId,
    Regular,
    RingKey,
    Sent,
    Submitted,
    Synchronised,
    Transitional,
)

STEP = 0.001
"""Seconds between two events of a story."""


class Story:
    """Appends events; every method speaks of node *node*, whose boot sequence is 1 until `reboot` says another."""

    def __init__(self) -> None:
        self.history = History()
        self._time = 0.0
        self._boots: dict[int, int] = {}

    def reboot(self, node: int, boot: int) -> None:
        """The process ends; what follows happens in the life *boot* of the node."""
        self.fail(node)
        self._boots[node] = boot

    def add(self, node: int, event: Event) -> None:
        """Something happened at *node*."""
        self._time += STEP
        self.history.record(Incarnation(node, self._boots.get(node, 1)), event, self._time)

    def regular(
        self, node: int, ring: RingKey, members: tuple[int, ...], survivors: tuple[int, ...] | None = None
    ) -> None:
        """A regular configuration, with the exchange of its state complete at once."""
        survivors = (node,) if survivors is None else survivors
        joined = tuple(member for member in members if member not in survivors)
        self.add(node, Regular(ring, members, survivors, joined))
        self.add(node, Synchronised(ring, MessageId(0, 0, 0)))

    def transitional(
        self, node: int, old: RingKey, new: RingKey, members: tuple[int, ...], left: tuple[int, ...] = ()
    ) -> None:
        """A transitional configuration."""
        self.add(node, Transitional(old, new, members, left))

    def send(self, node: int, number: int, ring: RingKey, position: int, *, safe: bool = False) -> MessageId:
        """Submit a message and send it."""
        message = MessageId(node, self._boots.get(node, 1), number)
        self.add(node, Submitted(message, Lane.APPLICATION, safe, number))
        self.add(node, Sent(message, ring, position))
        return message

    def deliver(
        self,
        node: int,
        message: MessageId,
        ring: RingKey,
        position: int,
        *,
        safe: bool = False,
        transitional: bool = False,
    ) -> None:
        """Deliver what was submitted."""
        self.add(node, Delivered(message, ring, position, safe, message.number, transitional))

    def fail(self, node: int) -> None:
        """The process ends."""
        self.add(node, Failed())


def alone(node: int) -> RingKey:
    """The ring that a node of a story boots with."""
    return RingKey(1, node)


FIRST, SECOND = RingKey(5, 1), RingKey(9, 1)
"""The rings of a story."""


def together(story: Story, nodes: tuple[int, ...], ring: RingKey = FIRST) -> None:
    """All of *nodes* boot, and form their first ring."""
    for node in nodes:
        story.regular(node, alone(node), (node,))
    for node in nodes:
        story.transitional(node, alone(node), ring, (node,))
        story.regular(node, ring, nodes)


def go_on(story: Story, node: int, old: tuple[int, ...], members: tuple[int, ...], new: RingKey = SECOND) -> None:
    """Node *node* closes the first ring, of *old*, together with *members*, which are the whole second one."""
    story.transitional(node, FIRST, new, members, tuple(other for other in old if other not in members))
    story.regular(node, new, members, members)
