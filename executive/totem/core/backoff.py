"""Merge back-off (docs/totem.md §5.8, rule B): a node that was just excluded is not merged with again at once.

It stops two nodes that cannot hear each other from forming and losing a ring for ever: no attempt is made while the
rings of both are known to be *apart* (`earshot`), and where that is not known, none for a time that doubles.

Only merge detects and foreign data are ignored, never joins: ignoring joins makes the back-offs of both sides alternate
and some runs never converge.  The exception is a *deaf* node, which was excluded since it fails to receive
(docs/totem.md §4.4): it would be back at once, and excluded again, for ever.  There one side only backs off, and the
other one's joins are heard.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class LinkNews(enum.Enum):
    """What a merge detect has shown of the links to the ring that it is of."""

    APART = "somebody does not hear somebody, and that lasts"
    MENDED = "all hear each other again, and need not wait"


@dataclass(slots=True)
class _Record:
    length: float
    until: float
    deaf: bool
    candidates: frozenset[int]
    """Everybody who was considered when it was excluded."""
    unaware_until: float
    """It may go on with that attempt until then, for it was not told."""
    member_since: float | None = None
    apart_since: float | None = None
    """Since when every merge detect of it was one of a ring that is apart from ours."""
    told: bool = False
    """That it lasted has been said."""
    cut: bool = False
    """That lasted, or it was silent: the links to its ring did not work at some time since."""


class MergeBackoff:
    """Per node: for how long its merge detects and foreign messages are ignored."""

    def __init__(self, first: float, longest: float, relapse: float = 0.0, unaware: float = 0.0) -> None:
        """*relapse*: a deaf node is no better if it was a member for no longer than its back-off and this.

        *unaware*: how long it takes at most until a node that was excluded gives up the attempt in which it was.
        """
        self._records: dict[int, _Record] = {}
        self.reconfigure(first, longest, relapse, unaware)

    def reconfigure(self, first: float, longest: float, relapse: float, unaware: float) -> None:
        """The constants from now on; what runs ends when it was to end."""
        self._first = first
        self._longest = longest
        self._relapse = relapse
        self._unaware = unaware

    def installed(
        self,
        members: Iterable[int],
        failed: Iterable[int],
        now: float,
        deaf: frozenset[int] = frozenset(),
    ) -> None:
        """A ring was installed with *members*, after *failed* were excluded, some of them since they were *deaf*."""
        present, excluded = tuple(members), tuple(failed)
        candidates = frozenset((*present, *excluded))
        for node in present:
            record = self._records.get(node)
            if record is not None and record.member_since is None:
                record.member_since = now
        for node in excluded:
            record = self._records.get(node)
            enough = 0.0 if record is None else record.length + (self._relapse if node in deaf else 0.0)
            if record is None or (record.member_since is not None and now - record.member_since >= enough):
                length = min(self._first, self._longest)
            else:
                length = min(2 * record.length, self._longest)
            self._records[node] = _Record(length, now + length, node in deaf, candidates, now + self._unaware)

    def link_seen(self, node: int, now: float, *, apart: bool, after_silence: bool) -> LinkNews | None:
        """A merge detect of *node* came: its ring is *apart* from ours, or not as far as is known.

        If it is, that is reason not to try.  If it was, for long enough to be believed, and is not now, that ends the
        back-off, once: what was mended need not wait.  Links that have not changed since the node was excluded say
        nothing new, nor do any about a deaf node, which gets merge detects as before.  Returns what is new, once.
        """
        record = self._records.get(node)
        if record is None or record.member_since is not None:
            return None
        record.unaware_until = now
        if record.deaf:
            return None
        record.cut = record.cut or after_silence
        if apart:
            record.apart_since = now if record.apart_since is None else record.apart_since
            lasts = now - record.apart_since >= self._first
            told, record.told = record.told, record.told or lasts
            record.cut = record.cut or lasts
            return LinkNews.APART if lasts and not told else None
        record.apart_since, record.told = None, False
        if not record.cut:
            return None
        record.cut = False
        waiting, record.until = now < record.until, now
        return LinkNews.MENDED if waiting else None

    def ignores(self, node: int, now: float) -> bool:
        """Whether a merge detect or foreign message of *node* is to be ignored."""
        record = self._records.get(node)
        return (
            record is not None
            and record.member_since is None
            and (record.apart_since is not None or now < record.until)
        )

    def ignores_joins(self, node: int, now: float) -> bool:
        """Whether even a join of *node* is to be ignored by a ring that it is not in."""
        record = self._records.get(node)
        return record is not None and record.deaf and self.ignores(node, now)

    def is_unaware(self, node: int, candidates: Iterable[int], now: float) -> bool:
        """Whether a join of *node* belongs to the attempt from which it was excluded: it goes on as if it were not.

        Answering would begin that attempt anew, and again, with no ring standing for long enough to find out why it
        fails.  A ring of its own ends that, and so does a restart: it considers fewer nodes then.
        """
        record = self._records.get(node)
        return (
            record is not None
            and record.member_since is None
            and now < record.unaware_until
            and record.candidates.issubset(candidates)
        )
