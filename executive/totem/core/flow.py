"""Flow control (docs/totem.md §4.5), counted in datagram units so that frames of any size weigh what they are.

The window that is configured is a floor: a node that had more to send lets its own grow while nothing is lost and the
token comes round quickly, and halves it when something is.  Each node for itself; the token carries what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..wire.packets import Token


def units(payload_bytes: int, datagram_bytes: int) -> int:
    """Datagrams that *payload_bytes* take; at least one."""
    return max(1, -(-payload_bytes // datagram_bytes))


def whole_frames(allowed: int, frame_units: int) -> int:
    """*allowed* units as what frames of at most *frame_units* make of them, since the last one is sent whole.

    So that a visit moves no less when frames become smaller than that.
    """
    return -(-allowed // frame_units) * frame_units


GROWTH: Final = 1.25
"""A window that was too small at a visit is so many times larger at the next."""

LOSS_SHARE: Final = 0.5
"""What a loss leaves of it."""

ROTATION_SECONDS: Final = 0.04
"""A rotation that takes longer is long enough: what is sent more would only wait longer.  Not less than this, since on
a machine with more to do than processors each hop waits for one, and only more for each rotation makes up for that."""


@dataclass(slots=True)
class FlowAccount:
    """What this node has added to the token's `flow` and `backlog`.

    Invariant: over a ring's members, the sum of `sent` is the token's `flow`, the sum of `reported` its `backlog`.
    """

    window_min: int
    """Units that a ring may send per rotation in any case."""
    per_visit_min: int
    """Units that this node may send per visit in any case."""
    growth_max: int = 1
    """How many times as much it may be where nothing is lost."""
    growth: float = 1.0
    """How many times as much it is."""
    sent: int = 0
    """Paper: my_trc.  Units sent at the last visit."""
    reported: int = 0
    """Paper: my_pbl.  Backlog reported at the last visit."""

    @property
    def window(self) -> int:
        """Units that a ring may send per rotation."""
        return int(self.window_min * self.growth)

    @property
    def per_visit(self) -> int:
        """Units that this node may send per visit."""
        return int(self.per_visit_min * self.growth)

    def adapt(self, *, lost: bool, wanted_more: bool, rotation_seconds: float) -> None:
        """A visit is over: frames were missing somewhere, this node had more to send, a rotation takes so long."""
        if lost:
            self.growth = max(1.0, self.growth * LOSS_SHARE)
        elif rotation_seconds > ROTATION_SECONDS:
            self.growth = max(1.0, self.growth / GROWTH)
        elif wanted_more:
            self.growth = min(self.growth * GROWTH, max(1.0, self.growth_max))

    def allowed(self, token: Token, backlog: int) -> int:
        """Units that may be sent at this visit, retransmissions included."""
        allowed = min(self.per_visit, max(0, self.window - (token.flow - self.sent)))
        total = token.backlog + backlog - self.reported
        if total > 0:
            # The floor of one keeps a node with a small share from waiting for ever.
            allowed = min(allowed, max(1, self.window * backlog // total))
        return allowed

    def settle(self, token: Token, sent: int, backlog: int) -> tuple[int, int]:
        """The token's new (flow, backlog) after *sent* units, with *backlog* units left."""
        flow = max(0, token.flow + sent - self.sent)
        total = max(0, token.backlog + backlog - self.reported)
        self.sent, self.reported = sent, backlog
        return flow, total
