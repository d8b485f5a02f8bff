"""Merge back-off (docs/totem.md §5.8, rule B): a node that was just excluded is not merged with again at once.

It stops two nodes that cannot hear each other from forming and losing a ring for ever.  Only merge detects and foreign
data are ignored, never joins: ignoring joins makes the back-offs of both sides alternate and some runs never converge.
The exception is a *deaf* node, which was excluded since it fails to receive (docs/totem.md §4.4): it would be back at
once, and excluded again, for ever.  There one side only backs off, and the other one's joins are heard.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class _Record:
    length: float
    until: float
    deaf: bool
    member_since: float | None = None
    cut: bool = False
    """The link to it did not work, one way or both, at some time since."""


class MergeBackoff:
    """Per node: for how long its merge detects and foreign messages are ignored."""

    def __init__(self, first: float, longest: float, relapse: float = 0.0) -> None:
        """*relapse*: a deaf node is no better if it was a member for no longer than its back-off and this."""
        self._first = first
        self._longest = longest
        self._relapse = relapse
        self._records: dict[int, _Record] = {}

    def installed(
        self, members: Iterable[int], failed: Iterable[int], now: float, deaf: frozenset[int] = frozenset()
    ) -> None:
        """A ring was installed with *members*, after *failed* were excluded, some of them since they were *deaf*."""
        present = tuple(members)
        for node in present:
            record = self._records.get(node)
            if record is not None and record.member_since is None:
                record.member_since = now
        for node in failed:
            record = self._records.get(node)
            enough = 0.0 if record is None else record.length + (self._relapse if node in deaf else 0.0)
            if record is None or (record.member_since is not None and now - record.member_since >= enough):
                length = min(self._first, self._longest)
            else:
                length = min(2 * record.length, self._longest)
            self._records[node] = _Record(length, now + length, node in deaf)

    def link_seen(self, node: int, now: float, *, mutual: bool, after_silence: bool) -> bool:
        """A merge detect of *node* came, and says whether the link works both ways (*mutual*).

        A link that did not work and does now ends the back-off, once: what was mended need not wait.  One that has
        not changed since the node was excluded says nothing new, nor does any about a deaf node, which gets merge
        detects as before.  Returns whether it did.
        """
        record = self._records.get(node)
        if record is None or record.deaf or record.member_since is not None:
            return False
        record.cut = record.cut or after_silence or not mutual
        if not (record.cut and mutual):
            return False
        record.cut = False
        waiting, record.until = now < record.until, now
        return waiting

    def ignores(self, node: int, now: float) -> bool:
        """Whether a merge detect or foreign message of *node* is to be ignored."""
        record = self._records.get(node)
        return record is not None and record.member_since is None and now < record.until

    def ignores_joins(self, node: int, now: float) -> bool:
        """Whether even a join of *node* is to be ignored by a ring that it is not in."""
        record = self._records.get(node)
        return record is not None and record.deaf and self.ignores(node, now)
