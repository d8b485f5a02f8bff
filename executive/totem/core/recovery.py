"""Recovery: bring the old ring's messages to everybody who came along (docs/totem.md §6).

The messages travel inside messages of the new ring, so its numbering, retransmission and flow control apply to them.
"""

from __future__ import annotations

from ....ipc.errors import MalformedMessage
from ....ipc.ids import Guarantee
from ..wire.codec import decode_encapsulated, encode
from ..wire.packets import CommitToken, Mcast, MemberEntry, Token
from .context import Recovery, RingContext, RingState
from .effects import Level
from .store import FrameStore

QUIET_VISITS_BEFORE_INSTALL_SEQ = 2
"""Two visits in a row without the flag: every queue was empty in between, so nothing more can appear."""

QUIET_VISITS_BEFORE_INSTALL = 3
ROTATIONS_BEFORE_INSTALL = 2
"""Two visits: in between every other member had everything, else it would have lowered `received_by_all`."""


def enter_recovery(ring: RingContext, token: CommitToken, now: float) -> None:
    """The commit token came round with everybody's report: decide what has to be re-broadcast, and by whom."""
    installed = ring.installed
    entries = dict(zip(token.members, token.entries, strict=True))
    survivors = tuple(
        node for node in token.members if node in installed.members and entries[node].ring == installed.ring
    )
    if all(entries[node].obliged for node in survivors):
        ring.count("recovery.obligations_kept")
        if set(installed.obligations) > set(survivors):
            ring.count("recovery.obligations_wider")
    else:
        installed.obligations, installed.obliged = survivors, False
    ring.state = RingState.RECOVERY
    ring.recovery = Recovery(
        store=FrameStore(ring.parameters.store_frames_max),
        queue=_to_rebroadcast(ring, {node: entries[node] for node in survivors}),
        survivors=survivors,
        delivered=max(entries[node].delivered for node in survivors),
    )
    ring.count("recovery.entered")
    ring.fact("ring.recovery", Level.DEBUG, ring=str(ring.ring), survivors=survivors,
              rebroadcast=len(ring.recovery.queue))  # fmt: skip
    ring.rotation.unchanged_visits = 0
    ring.rotation.rhythm.returned(now)
    ring.send_token(CommitToken(token.ring, token.hop + 1, token.filled, token.members, token.entries), now)
    ring.arm_token_timers(now)


def _to_rebroadcast(ring: RingContext, entries: dict[int, MemberEntry]) -> dict[int, Mcast]:
    """Old-ring frames that somebody may miss: each by the lowest member known to hold it, or by all who do.

    They wait as frames of the new ring without a number; the token visit stamps them.
    """
    lowest = min(entry.received for entry in entries.values())
    queue: dict[int, Mcast] = {}
    for frame in ring.installed.store.above(lowest):
        holders = [node for node, entry in entries.items() if entry.received >= frame.seq]
        if not holders or min(holders) == ring.me:
            queue[frame.seq] = Mcast(ring.ring, 1, ring.me, Guarantee.AGREED, True, encode(frame))
    return queue


def create_token(ring: RingContext) -> Token:
    """The first token of a ring, made by its representative when the commit token has come round twice."""
    recovery = ring.recovery
    assert recovery is not None
    recovery.token_created = True
    recovery.flag_is_mine = bool(recovery.queue)
    return Token(ring.ring, 0, 0, 0, ring.me, 0, 0, recovery.flag_is_mine, ())


def take_rebroadcast(ring: RingContext, frame: Mcast) -> None:
    """An encapsulated message of the new ring: its content belongs to the old ring's store, at once.

    "At once" and not at the install: if this recovery fails, what it brought must not be forgotten, since somebody may
    have delivered it by then.
    """
    try:
        inner = decode_encapsulated(frame.body)
    except MalformedMessage:
        ring.count("recovery.malformed")
        return
    if inner.ring != ring.installed.ring:
        return
    if ring.installed.store.add(inner):
        ring.count("recovery.recovered")
    if ring.recovery is not None:
        # It has its place in the new ring's order now, so everybody will get it: no need to send our copy.
        ring.recovery.queue.pop(inner.seq, None)


def recovery_step(ring: RingContext, *, recovering: bool, highest: int, received_by_all: int) -> tuple[bool, bool]:
    """Step 11 of the token visit, with the token's fields as they will be forwarded.

    Returns (the token's recovering flag, whether the ring is to be installed now).
    """
    recovery = ring.recovery
    assert recovery is not None
    flag = recovering
    if recovery.queue:
        if not flag:
            flag = recovery.flag_is_mine = True
    elif flag and recovery.flag_is_mine:
        flag = recovery.flag_is_mine = False
    if flag:
        recovery.quiet_visits, recovery.install_seq, recovery.rotations = 0, None, 0
        return flag, False
    recovery.quiet_visits += 1
    if recovery.quiet_visits == QUIET_VISITS_BEFORE_INSTALL_SEQ:
        recovery.install_seq = highest
    if recovery.install_seq is None:
        return flag, False
    installed = ring.installed
    if not installed.obliged and recovery.store.received >= recovery.install_seq:
        # From here on others may deliver relying on us.
        installed.obliged, installed.obligations = True, recovery.survivors
    everybody = received_by_all >= recovery.install_seq
    recovery.rotations = recovery.rotations + 1 if everybody else 0
    return flag, (
        recovery.quiet_visits >= QUIET_VISITS_BEFORE_INSTALL and recovery.rotations >= ROTATIONS_BEFORE_INSTALL
    )
