"""The constants of the ring, all in one place; filled from the configuration, smaller in simulations."""

from __future__ import annotations

from dataclasses import dataclass

PARKED_SHARE = 4
"""One of how many parts of the token timeout tokens may be put off in one rotation."""


@dataclass(frozen=True, slots=True)
class RingParameters:
    """Timeouts in seconds, counts in visits, sizes in bytes.  Names are corosync.conf's where it has one."""

    node_id: int
    token: float
    """Effective token timeout (coefficient included): silence after which the ring is declared lost."""
    token_retransmit: float
    hold: float
    join: float
    consensus: float
    merge: float
    send_join: float = 0.0
    """Upper bound of a random delay before a join."""
    token_warning: float = 0.0
    """Silence after which a warning is due; 0 = off."""
    heartbeat: float = 0.0
    """Loss timeout of heartbeat_failures_allowed; 0 = off."""
    knock: float = 0.0
    """Silence after which the successor is sent something, so that its port can be reported closed; 0 = off."""
    fail_recv_const: int = 2500
    seqno_unchanged_const: int = 30
    """Rotations without anything new after which the token rests."""
    park_visits: int = 1
    """The same where everybody is known to have everything; 0 = no sooner then."""
    keep: float = 0.004
    """Seconds that the only sender keeps the token to send more with it; 0 = it passes it on at once."""
    miss_count_const: int = 5
    window_size: int = 50
    """Datagram units a ring may send per rotation."""
    max_messages: int = 17
    """Datagram units one node may send per visit."""
    window_growth: int = 1
    """How many times `window_size` and `max_messages` may be where nothing is lost; 1 = as they are."""
    cancel_token_hold_on_retransmit: bool = False
    join_coalesce: float = 0.005
    """Changes of the sets within this time go out as one join."""
    merge_backoff_max: float = 0.0
    """Longest time that merge detects of a node that failed are ignored; 0 = 16 x token."""
    frame_bytes: int = 16_000
    """Body bytes after which a frame is full."""
    datagram_bytes: int = 1_400
    """What flow control counts as one unit."""
    store_frames_max: int = 1_024
    """Frames a node keeps for retransmission; the slowest receiver throttles all (corosync: 16,384)."""
    store_bytes_max: int = 64 * 1024 * 1024
    """The same in bytes, but for what the others send within a rotation."""
    submission_bytes_max: int = 2 * 1024 * 1024
    """Longest single submission (a batch of a service)."""
    missing_max: int = 128
    """Retransmission requests per token; bounded by what fits a datagram."""
    options_digest: int = 0

    def park_seconds(self, members: int) -> float:
        """How long a node whose services are behind may put a token off, so that no ring is lost if all of them do.

        All of its *members* together: a quarter of the time after which the token, or a rotation, counts as lost.
        """
        return min(self.token, self.heartbeat or self.token) / (PARKED_SHARE * max(1, members))
