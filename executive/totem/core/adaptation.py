"""What loss changes: how large frames are, and how soon a missing one is asked for (docs/totem.md §4.10).  Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

FRAME_PRICE: Final = 8.0
"""What a frame costs besides its datagrams, in datagrams: its seal, its place in the order, its delivery.  Measured
before frames were repaired (`wire.repair`): at 1 % loss 8 kB messages came to 38 % of lossless with 2, 41 with 5, 45
with 8 and 14."""

MEMORY_COPIES: Final = 2_000
"""The loss estimate is that of about so many datagrams, each counted once for every receiver."""

VISITS_MIN: Final = 2
"""A frame that has been missed at so many visits is asked for: what came behind the token has come by then."""

PREMATURE_STEP: Final = 1 / 2
"""A frame that came after all, and once more because it was asked for, makes us wait so many visits longer …"""

USEFUL_STEP: Final = 1 / 16
"""… and one that came only because it was asked for, so many visits less."""


class FrameSize:
    """How many datagrams this node's frames may take: many where nothing is lost, few on a bad network.

    Few lost datagrams come again alone (`wire.repair`).  Where that does not help, a frame of d datagrams is repeated
    as a whole when a receiver loses one of them.  With such a loss of p per datagram, r receivers and a fixed price of
    h datagrams per frame, what a byte costs is about (1 + h/d) · (1 + p·r·d), which is least for d = √(h / (p·r)).
    """

    def __init__(self, most: int) -> None:
        self.most = most
        """Datagrams of the largest frame."""
        self._copies = float(MEMORY_COPIES)
        self._repeated = 0.0

    @property
    def loss(self) -> float:
        """Estimated share of datagrams that a receiver loses."""
        return min(1.0, self._repeated / self._copies)

    def sent(self, datagrams: int, receivers: int) -> None:
        """A frame of this node went out for the first time."""
        copies = datagrams * receivers
        keep = max(0.0, 1 - copies / MEMORY_COPIES)
        self._copies = self._copies * keep + copies
        self._repeated *= keep

    def repeated(self) -> None:
        """One of them was sent again, by whomever: somebody did not get it."""
        self._repeated += 1

    def datagrams(self, receivers: int) -> int:
        """Datagrams that the next frame may take."""
        lost = self.loss * receivers
        if not lost:
            return self.most
        return max(1, min(self.most, round(math.sqrt(FRAME_PRICE / lost))))


class Requests:
    """Which missing frames are asked for: those missed at several visits, fewer where asking early proved right.

    On a network that brings data behind the token a frame that was asked for comes twice; that is how we learn.
    """

    def __init__(self) -> None:
        self._enough = float(VISITS_MIN)
        self._missed: dict[int, int] = {}
        """Missing number -> visits at which it was missing."""
        self._asked: dict[int, int] = {}
        """Number that was asked for -> 0 until it comes, then 1 until the next visit and 2 until the one after."""

    def visit(self, holes: Iterable[int], most: int) -> list[int]:
        """The token is here and *holes* are missing: those to be asked for; *most*: visits to wait at the most."""
        before = self._missed
        self._missed = {seq: before.get(seq, 0) + 1 for seq in holes}
        self._asked = {seq: phase and phase + 1 for seq, phase in self._asked.items() if phase < 2}
        enough = min(most, round(self._enough))
        return [seq for seq, visits in self._missed.items() if visits >= enough]

    def asked(self, seq: int) -> None:
        """The number is in the token's list."""
        self._asked[seq] = 0

    def came(self, seq: int) -> None:
        """A frame came for the first time."""
        self._missed.pop(seq, None)
        if seq in self._asked:
            self._asked[seq] = 1
            self._enough = max(VISITS_MIN, self._enough - USEFUL_STEP)

    def came_again(self, seq: int, most: int) -> None:
        """A frame came that is here already."""
        if self._asked.pop(seq, 0):
            self._enough = min(most, self._enough + PREMATURE_STEP)


class Repeats:
    """Whose turn it is to send a frame again: ours, or, when ours did not help, somebody else's.

    The first member behind one that misses a frame would else answer it for ever, over a link that may be broken, and
    the one that does not hear that member, but all the others, would be given up.
    """

    def __init__(self) -> None:
        self._turns: dict[int, tuple[int, int]] = {}
        """Number -> how often we have sent the frame again, and how many more requests are left to others."""

    def leaves_to_others(self, seq: int) -> bool:
        """The frame is asked for: whether this request is left to somebody else, who has been asked less often."""
        times, left = self._turns.get(seq, (0, 0))
        if left:
            self._turns[seq] = times, left - 1
        return left > 0

    def sent(self, seq: int, others: int) -> None:
        """We send it; *others*: members that could do so instead, but for who asks."""
        times = self._turns.get(seq, (0, 0))[0] + 1
        self._turns[seq] = times, min(times, others)

    def release(self, up_to: int) -> None:
        """Everybody has what is numbered up to here."""
        if self._turns:
            self._turns = {seq: turn for seq, turn in self._turns.items() if seq > up_to}
