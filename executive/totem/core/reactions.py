"""The membership protocol as a table: what each state does with each packet and timer (docs/totem.md §3).

Every pair is decided, "ignore" included; a test proves that none is missing.  A reaction is a short function named
after the situation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..wire.packets import Alive, CommitToken, HoldCancel, Join, Mcast, MergeDetect, Packet, Probe, Token
from .backoff import LinkNews
from .context import GatherReason, RingContext, RingState
from .effects import Level, Multicast, Scope
from .keeping import on_hold_cancel, release_held_token, repeat_token
from .membership import (
    accepts_commit,
    add_candidate,
    completes_commit,
    consider_join,
    enter_commit,
    enter_gather,
    knows_more,
    on_consensus_timeout,
    send_join,
)
from .ordering import accepts_token, on_repeated_token, take_frame, visit
from .recovery import create_token, enter_recovery
from .suspicion import ask_suspects, knock, probe_arrives, still_there
from .timers import Timer

OPERATIONAL, GATHER, COMMIT, RECOVERY = (
    RingState.OPERATIONAL,
    RingState.GATHER,
    RingState.COMMIT,
    RingState.RECOVERY,
)


# -- what has no meaning in a state


def drop(ring: RingContext, packet: Packet, sender: int, now: float) -> None:
    """Nothing to learn from this packet in this state."""
    ring.count(f"drop.{ring.state.value}.{type(packet).__name__}")


# -- regular token


def token_arrives(ring: RingContext, token: Token, sender: int, now: float) -> None:
    """A token counts if it is of our ring and new."""
    problem = accepts_token(ring, token)
    if problem is None:
        visit(ring, token, now)
    else:
        ring.count(problem)
        on_repeated_token(ring, token, now)


# -- multicast


def frame_while_operational(ring: RingContext, frame: Mcast, sender: int, now: float) -> None:
    """A frame of our ring, a late one of recovery, a leftover of an earlier ring, or a sign of another ring."""
    if frame.ring == ring.ring:
        if frame.encapsulated:
            ring.count("mcast.late_rebroadcast")
        else:
            take_frame(ring, frame, now)
    else:
        hear_other_ring(ring, frame, sender, now, GatherReason.FOREIGN)


def frame_while_gathering(ring: RingContext, frame: Mcast, sender: int, now: float) -> None:
    """Frames of the installed ring are still welcome: nothing of its store has been reported since we gather."""
    if frame.ring == ring.installed.ring and not frame.encapsulated:
        ring.installed.store.add(frame)
    elif frame.ring != ring.ring:
        hear_candidate(ring, sender, now, GatherReason.FOREIGN)


def frame_while_recovering(ring: RingContext, frame: Mcast, sender: int, now: float) -> None:
    """Only re-broadcasts: the old store is frozen, and nobody sends ordinary frames before all have installed."""
    if frame.ring == ring.ring and frame.encapsulated:
        take_frame(ring, frame, now)
    elif frame.ring == ring.ring:
        ring.count("bug.ordinary_frame_in_recovery")
    else:
        drop(ring, frame, sender, now)


# -- other rings


def merge_detect_while_operational(ring: RingContext, packet: MergeDetect, sender: int, now: float) -> None:
    """Another ring exists; or a member of ours says whom it hears."""
    ring.earshot.said(sender, packet, now)
    if packet.ring != ring.ring:
        _look_at_link(ring, packet, sender, now)
        hear_other_ring(ring, packet, sender, now, GatherReason.MERGE)


def merge_detect_while_gathering(ring: RingContext, packet: MergeDetect, sender: int, now: float) -> None:
    """Somebody else could be in the next ring."""
    ring.earshot.said(sender, packet, now)
    if packet.ring not in (ring.ring, ring.installed.ring):
        _look_at_link(ring, packet, sender, now)
        hear_candidate(ring, sender, now, GatherReason.MERGE)


def _look_at_link(ring: RingContext, packet: MergeDetect, sender: int, now: float) -> None:
    """Whether the two rings are apart; if they were, and are not now, nobody need be backed off from any more."""
    # Our next ring comes after this one, so that its joins are not taken for those of an attempt before it.
    ring.highest_ring_sequence = max(ring.highest_ring_sequence, packet.ring.sequence)
    installed = ring.installed
    apart = ring.earshot.apart(sender, installed.ring, installed.members, now)
    news = ring.backoff.link_seen(sender, now, apart=apart, after_silence=ring.earshot.was_silent(sender, now))
    if news is LinkNews.MENDED:
        ring.count("backoff.link_mended")
    elif news is LinkNews.APART:
        ring.count("backoff.apart")
        ring.fact("ring.apart", Level.WARNING, node=sender, ring=str(packet.ring))


def hear_other_ring(
    ring: RingContext, packet: Mcast | MergeDetect, sender: int, now: float, because: GatherReason
) -> None:
    """A packet of another ring: a leftover of a previous one, somebody who is backed off from, or a reason to merge."""
    if sender in ring.installed.members and packet.ring.sequence <= ring.ring.sequence:
        ring.count("stale")
    elif ring.backoff.ignores(sender, now):
        ring.count("backed_off")
    else:
        add_candidate(ring, sender)
        enter_gather(ring, because, now)


def hear_candidate(ring: RingContext, sender: int, now: float, because: GatherReason) -> None:
    """While gathering: consider somebody who was not considered yet."""
    if ring.backoff.ignores(sender, now):
        ring.count("backed_off")
    elif ring.earshot.cannot_join(sender, ring.episode.proposed, now):
        ring.count("apart_from_a_candidate")
    elif add_candidate(ring, sender):
        enter_gather(ring, because, now)


# -- join and leave


def join_while_operational(ring: RingContext, join: Join, sender: int, now: float) -> None:
    """Somebody wants to form a ring with us, or leaves."""
    members = set(ring.installed.members)
    if ring.me in join.failed:
        # It has given us up and will form its own ring.  Answering would let two halves eject each other for ever.
        ring.count("join.gave_us_up")
    elif sender in members and join.ring_sequence < ring.ring.sequence:
        ring.count("join.older_than_ring")
    elif sender not in members and (because := _outsider_is_ignored(ring, join, sender, now)):
        ring.count(because)
    else:
        if not join.leaving:
            # Before gathering: a node alone would agree with itself and be half way into a ring of one.
            add_candidate(ring, sender)
        enter_gather(ring, GatherReason.LEAVE if join.leaving else GatherReason.JOIN, now)
        consider_join(ring, join, sender, now)


def _outsider_is_ignored(ring: RingContext, join: Join, sender: int, now: float) -> str | None:
    """Why the join of an outsider is no reason for an operational ring to gather; None if it is one."""
    members = set(ring.installed.members)
    if join.leaving:
        return "join.leave_of_outsider"
    if ring.backoff.ignores_joins(sender, now):
        return "join.of_a_deaf_node"
    if join.ring_sequence < ring.ring.sequence and ring.backoff.is_unaware(sender, join.candidates, now):
        return "join.of_the_attempt_before"
    if members & set(join.failed):
        return "join.gave_a_member_up"
    if join.candidates != (sender,) and not members & set(join.candidates):
        return "join.for_others"
    return None


def join_while_gathering(ring: RingContext, join: Join, sender: int, now: float) -> None:
    """The ordinary case: compare, learn, agree."""
    stranger = sender not in ring.episode.candidates
    if stranger and ring.earshot.cannot_join(sender, ring.episode.proposed, now):
        ring.count("join.apart_from_a_candidate")
    else:
        consider_join(ring, join, sender, now)


def join_while_forming(ring: RingContext, join: Join, sender: int, now: float) -> None:
    """A member of the ring being formed has started over, so it cannot complete; others are heard after the install."""
    if sender in ring.rotation.members and (
        join.ring_sequence >= ring.ring.sequence or (ring.state is COMMIT and knows_more(ring, join))
    ):
        commit = ring.state is COMMIT
        enter_gather(ring, GatherReason.JOIN_IN_COMMIT if commit else GatherReason.JOIN_IN_RECOVERY, now)
        consider_join(ring, join, sender, now)
    else:
        ring.count("join.while_forming")


# -- commit token


def commit_token_while_gathering(ring: RingContext, token: CommitToken, sender: int, now: float) -> None:
    """First pass: accept what matches our agreement exactly; joins repeat, so anything else is dropped."""
    if accepts_commit(ring, token):
        enter_commit(ring, token, now)
    else:
        ring.count("commit.refused")


def commit_token_while_committing(ring: RingContext, token: CommitToken, sender: int, now: float) -> None:
    """Second pass: everybody's report is in it."""
    if completes_commit(ring, token):
        enter_recovery(ring, token, now)
    else:
        ring.count("commit.repeated")


def commit_token_while_recovering(ring: RingContext, token: CommitToken, sender: int, now: float) -> None:
    """It came back to the representative: the ring's regular token can start, once."""
    complete = token.ring == ring.ring and token.hop == 2 * len(ring.rotation.members)
    if complete and ring.is_representative and ring.recovery is not None and not ring.recovery.token_created:
        ring.send_token(create_token(ring), now)
        ring.arm_token_timers(now)
    else:
        ring.count("commit.repeated")


# -- hold cancel


def hold_cancel_arrives(ring: RingContext, packet: HoldCancel, sender: int, now: float) -> None:
    """Somebody wants to send on the idle ring."""
    if packet.ring == ring.ring:
        on_hold_cancel(ring, now)


Reaction = Callable[[RingContext, Any, int, float], None]

REACTIONS: Final[dict[tuple[RingState, type[Packet]], Reaction]] = {
    (OPERATIONAL, Token): token_arrives,
    (OPERATIONAL, Mcast): frame_while_operational,
    (OPERATIONAL, MergeDetect): merge_detect_while_operational,
    (OPERATIONAL, Join): join_while_operational,
    (OPERATIONAL, CommitToken): drop,
    (OPERATIONAL, HoldCancel): hold_cancel_arrives,
    (OPERATIONAL, Probe): probe_arrives,
    (OPERATIONAL, Alive): still_there,
    (GATHER, Token): drop,
    (GATHER, Mcast): frame_while_gathering,
    (GATHER, MergeDetect): merge_detect_while_gathering,
    (GATHER, Join): join_while_gathering,
    (GATHER, CommitToken): commit_token_while_gathering,
    (GATHER, HoldCancel): drop,
    (GATHER, Probe): probe_arrives,
    (GATHER, Alive): still_there,
    (COMMIT, Token): drop,
    (COMMIT, Mcast): drop,
    (COMMIT, MergeDetect): drop,
    (COMMIT, Join): join_while_forming,
    (COMMIT, CommitToken): commit_token_while_committing,
    (COMMIT, HoldCancel): drop,
    (COMMIT, Probe): probe_arrives,
    (COMMIT, Alive): still_there,
    (RECOVERY, Token): token_arrives,
    (RECOVERY, Mcast): frame_while_recovering,
    (RECOVERY, MergeDetect): drop,
    (RECOVERY, Join): join_while_forming,
    (RECOVERY, CommitToken): commit_token_while_recovering,
    (RECOVERY, HoldCancel): hold_cancel_arrives,
    (RECOVERY, Probe): probe_arrives,
    (RECOVERY, Alive): still_there,
}
"""State x packet.  Total."""


# -- timers


def token_lost(ring: RingContext, now: float) -> None:
    """Timer LOSS: no new token for the token timeout."""
    because = {
        OPERATIONAL: GatherReason.TOKEN_LOST,
        GATHER: GatherReason.TOKEN_LOST_WAITING,
        COMMIT: GatherReason.TOKEN_LOST_COMMIT,
        RECOVERY: GatherReason.TOKEN_LOST_RECOVERY,
    }[ring.state]
    if ring.state is OPERATIONAL:
        ring.fact("ring.token_lost", Level.NOTICE, timeout_ms=round(1000 * ring.parameters.token),
                  consensus_ms=round(1000 * ring.parameters.consensus))  # fmt: skip
    enter_gather(ring, because, now)


def rotation_missed(ring: RingContext, now: float) -> None:
    """Timer HEARTBEAT: as token loss, but sooner."""
    enter_gather(
        ring, GatherReason.HEARTBEAT_LOST if ring.state is OPERATIONAL else GatherReason.TOKEN_LOST_RECOVERY, now
    )


def token_overdue(ring: RingContext, now: float) -> None:
    """Timer LOSS_WARNING: a good part of the token timeout has passed."""
    ring.fact("ring.token_overdue", Level.NOTICE, waited_ms=round(1000 * ring.parameters.token_warning))


def announce_ring(ring: RingContext, now: float) -> None:
    """Timer MERGE: tell everybody that this ring exists, busy or not, since its data reach only its members."""
    members, first = ring.installed.members, ring.is_representative
    packet = ring.earshot.merge_detect(ring.ring, members, now, first=first)
    if packet is not None:
        ring.emit(Multicast(packet, Scope.ALL, members))
    ring.timers.arm(Timer.MERGE, now + ring.parameters.merge)


def loopback_arrives(ring: RingContext, now: float) -> None:
    """Timer LOOPBACK: a token that a ring of one has sent to itself."""
    if ring.loopback:
        token = ring.loopback.popleft()
        REACTIONS[ring.state, type(token)](ring, token, ring.me, now)


TIMER_REACTIONS: Final[dict[Timer, Callable[[RingContext, float], None]]] = {
    Timer.LOOPBACK: loopback_arrives,
    Timer.LOSS_WARNING: token_overdue,
    Timer.LOSS: token_lost,
    Timer.HEARTBEAT: rotation_missed,
    Timer.RETRANSMIT: repeat_token,
    Timer.HOLD: release_held_token,
    Timer.JOIN: send_join,
    Timer.CONSENSUS: on_consensus_timeout,
    Timer.MERGE: announce_ring,
    Timer.PROBE: ask_suspects,
    Timer.KNOCK: knock,
}
"""Every timer's reaction.  A timer that makes no sense in a state is cancelled on the way there."""
