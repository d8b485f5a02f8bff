"""Frames that are sent again as they are: what a receiver has of one already needs not come again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, NamedTuple

from .datagrams import Run
from .replay import WINDOW_COUNTERS

REPEATED_SECONDS: Final = 0.5
"""How long a frame is sent again as the same datagrams: receivers keep the parts of one for twice as long."""

REPEATED_COUNTERS: Final = WINDOW_COUNTERS // 2
"""And until so many others were sealed: receivers know that far back which frames they have had."""

REPEATED_FRAMES_MAX: Final = 16
"""Frames that are kept for it, 4 MiB at the most; the one that was sealed first goes."""


class Kept(NamedTuple):
    """What was sealed."""

    datagrams: Run
    counter: int
    """Of the frame."""
    since: float


class RepeatedFrames:
    """What was sealed to be sent again, by the name that its sender has for it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def get(self, name: Hashable, counter: int, now: float) -> Kept | None:
        """What was kept of it, if that is still good when the next frame to be sealed is *counter*."""
        kept = self._kept.get(name)
        if kept is None or now > kept.since + REPEATED_SECONDS or counter > kept.counter + REPEATED_COUNTERS:
            return None
        return kept

    def keep(self, name: Hashable, datagrams: Run, counter: int, now: float) -> None:
        """It was sealed as the frame *counter*."""
        self._kept.pop(name, None)
        self._kept[name] = Kept(datagrams, counter, now)
        if len(self._kept) > REPEATED_FRAMES_MAX:
            self._kept.popitem(last=False)
