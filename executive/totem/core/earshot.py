"""Who hears whom (docs/totem.md §5.8): what this node hears itself, and what the merge detects of others say.

A ring in which somebody does not hear somebody may never be formed, or not last.  So two rings are *apart*, and no
attempt is made, while a member of one is known not to hear a member of the other.  What is known is what was said
lately: it is forgotten when it is not said again, so that no rumour outlives its cause, and what is passed on is only
what members of one's own ring, and those who are apart, have said themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ....ipc.ids import RingId
from ..wire.packets import NODES_MAX, MergeDetect

SILENT_MERGES: Final = 5
"""Merge intervals without a word after which a link counts as silent, if that is longer than a token timeout."""


@dataclass(frozen=True, slots=True)
class _Word:
    """The last merge detect of some node."""

    ring: RingId
    heard: frozenset[int]
    apart: frozenset[int]
    at: float
    again: bool
    """It said so before, too, on this ring: whom it does not name it has had the time to hear."""

    def misses(self, nodes: Iterable[int]) -> bool:
        """Whether the speaker does not hear one of *nodes*, which are outside its ring."""
        return self.again and not self.heard.issuperset(nodes)


class Earshot:
    """What one node knows of who hears whom.  All that is not known is taken for well."""

    def __init__(self, token: float, merge: float) -> None:
        self.heard: dict[int, float] = {}
        """When each other node was last heard."""
        self._words: dict[int, _Word] = {}
        self.reconfigure(token, merge)

    def reconfigure(self, token: float, merge: float) -> None:
        """The token and merge timeouts: how long something counts."""
        self._lately = max(token, SILENT_MERGES * merge)

    def was_silent(self, node: int, now: float) -> bool:
        """Whether *node*, of which a packet comes now, was not heard for long before."""
        return now - self.heard.get(node, now) > self._lately

    def said(self, node: int, packet: MergeDetect, now: float) -> None:
        """A merge detect of *node*: the ring it is in, and which others it hears."""
        before = self._word(node, now)
        again = before is not None and before.ring == packet.ring
        self._words[node] = _Word(packet.ring, frozenset(packet.heard), frozenset(packet.apart), now, again)

    def merge_detect(self, ring: RingId, members: tuple[int, ...], now: float, *, first: bool) -> MergeDetect | None:
        """What to say for *ring*; None if nobody is there who need know.

        The *first* of a ring always speaks, so that rings find each other.  The others do while any of them hears an
        outsider: it counts whether all of them do.
        """
        fellows = self._of_ring(ring, now)
        heard = sorted(node for node, at in self.heard.items() if node not in members and now - at <= self._lately)
        if not (first or heard or any(word.heard for word in fellows.values())):
            return None
        del heard[NODES_MAX:]
        apart = []
        for node in heard:
            word = self._word(node, now)
            if _missed_by_any(node, fellows) or (word is not None and word.misses(members)):
                apart.append(node)
        return MergeDetect(ring, tuple(heard), tuple(apart))

    def apart(self, node: int, ring: RingId, members: tuple[int, ...], now: float) -> bool:
        """Whether somebody in the ring of *node* does not hear one of our *ring* with its *members*, or the reverse.

        As its own members and ours say; and what they have from others of ours or of theirs.
        """
        word = self._word(node, now)
        if word is None:
            return False
        fellows = self._of_ring(ring, now)
        return any(
            _missed_by_any(other, fellows) or said.misses(members) or not said.apart.isdisjoint(members)
            for other, said in self._of_ring(word.ring, now).items()
        )

    def cannot_join(self, node: int, others: Iterable[int], now: float) -> bool:
        """Whether *node* and one of *others*, of which both have said whom they hear, do not hear each other."""
        word = self._word(node, now)
        if word is None:
            return False
        said = ((other, self._word(other, now)) for other in others)
        return any(
            each is not None and each.ring != word.ring and (word.misses((other,)) or each.misses((node,)))
            for other, each in said
        )

    def _word(self, node: int, now: float) -> _Word | None:
        word = self._words.get(node)
        return word if word is not None and now - word.at <= self._lately else None

    def _of_ring(self, ring: RingId, now: float) -> dict[int, _Word]:
        return {node: word for node, word in self._words.items() if word.ring == ring and self._word(node, now)}


def _missed_by_any(node: int, fellows: dict[int, _Word]) -> bool:
    return any(word.misses((node,)) for word in fellows.values())
