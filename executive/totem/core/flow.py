"""Flow control (docs/totem.md §4.5), counted in datagram units so that frames of any size weigh what they are."""

from __future__ import annotations

from dataclasses import dataclass

from ..wire.packets import Token


def units(payload_bytes: int, datagram_bytes: int) -> int:
    """Datagrams that *payload_bytes* take; at least one."""
    return max(1, -(-payload_bytes // datagram_bytes))


def whole_frames(allowed: int, frame_units: int) -> int:
    """*allowed* units as what frames of at most *frame_units* make of them, since the last one is sent whole.

    So that a visit moves no less when frames become smaller than that.
    """
    return -(-allowed // frame_units) * frame_units


@dataclass(slots=True)
class FlowAccount:
    """What this node has added to the token's `flow` and `backlog`.

    Invariant: over a ring's members, the sum of `sent` is the token's `flow`, the sum of `reported` its `backlog`.
    """

    window: int
    per_visit: int
    sent: int = 0
    """Paper: my_trc.  Units sent at the last visit."""
    reported: int = 0
    """Paper: my_pbl.  Backlog reported at the last visit."""

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
