"""The token visit: the total order, retransmission, flow control (docs/totem.md §4).

`visit` is the protocol's inner loop; the order of its steps matters (docs/totem.md §4).
"""

from __future__ import annotations

from ..wire.packets import NOBODY, Mcast, Token
from .context import GatherReason, RingContext, RingState
from .delivery import deliver_available, install
from .effects import Level
from .flow import whole_frames
from .keeping import end_rest, hear_kept, keep, may_keep, pass_on
from .membership import enter_gather, give_up
from .origination import backlog, bounded, originate, received_by_all, retransmit
from .recovery import recovery_step, take_rebroadcast
from .timers import Timer

STANDSTILL_TIMEOUTS = 10
"""Token timeouts after which a member that makes no progress is given up even on a slow ring."""

ECHO_PATIENCE = 1 / 2
"""Share of its patience after which a member passes its token on again because its predecessor did so: that one has
waited for a whole patience, but began a hop earlier, and with another measure."""


def accepts_token(ring: RingContext, token: Token) -> str | None:
    """Why this token is dropped; None if it is to be visited.  A repeated token has no effect at all."""
    if token.ring != ring.ring:
        return "token.other_ring"
    if token.hop <= ring.rotation.hop:
        return "token.repeated"
    if token.highest < ring.store.received or token.highest - ring.store.received > ring.parameters.store_frames_max:
        return "token.implausible"
    return None


def visit(ring: RingContext, token: Token, now: float) -> None:
    """The token is here: everything that a member does with it, then pass it on."""
    rotation = ring.rotation
    # The others have waited as long for a token that was long under way, and are not to wait here, too.
    prompt = _arrived(ring, token, now) <= ring.parameters.token_retransmit
    _free(ring)
    allowed = whole_frames(rotation.flow.allowed(token, backlog(ring)), ring.frame_datagrams_max)
    missing, resent = retransmit(ring, token.missing, max(allowed, 1))
    missing = _request(ring, missing, token.highest)
    stays = prompt and not missing and may_keep(ring, token)
    room = bounded(ring, token, allowed - resent)
    sending = originate(ring, token.highest, room, resent=resent, may_keep=stays)
    left = backlog(ring)
    flow, total = rotation.flow.settle(token, resent + sending.units, left)
    rotation.flow.adapt(lost=bool(token.missing), wanted_more=left > 0, rotation_seconds=rotation.rhythm.mean)
    highest = sending.highest
    received, held_back_by = received_by_all(ring, token, highest)
    if _fails_to_receive(ring, received, held_back_by, now):
        return
    recovering, installs = token.recovering, False
    if ring.recovery is not None:
        recovering, installs = recovery_step(ring, recovering=recovering, highest=highest, received_by_all=received)
    rotation.hop = token.hop
    rotation.safe = max(rotation.safe, min(received, rotation.forwarded))
    rotation.forwarded = received
    if installs:
        install(ring, now)
    visited = Token(ring.ring, token.hop + 1, highest, received, held_back_by, flow, total, recovering, missing)
    if sending.kept:
        keep(ring, visited, now + ring.parameters.keep)
    else:
        pass_on(ring, visited, now, may_rest=prompt and not (sending.units or resent))
    if ring.state is RingState.OPERATIONAL:
        deliver_available(ring)


def _arrived(ring: RingContext, token: Token, now: float) -> float:
    """The ring is alive, and the last rotation over; returns the seconds that it took."""
    rotation = ring.rotation
    ring.arm_token_timers(now)
    ring.count("token.visited")
    ring.timers.cancel(Timer.HOLD)
    end_rest(ring)
    was_away = now - rotation.rhythm.first_passed_at
    rotation.rhythm.returned(now)
    rotation.holding = rotation.waking = rotation.kept_elsewhere = False
    rotation.kept_until = None
    rotation.unchanged_visits = rotation.unchanged_visits + 1 if token.highest == rotation.highest else 0
    rotation.highest = token.highest
    if ring.parameters.heartbeat:
        ring.timers.arm(Timer.HEARTBEAT, now + ring.parameters.heartbeat)
    return was_away


def on_repeated_token(ring: RingContext, token: Token, now: float) -> None:
    """A token that we have visited comes again: our predecessor waits, and we cannot know whether for us.

    If ours has been out for nearly as long as we would wait, it may be lost; and who believes that the token is held
    would wait very long.  Each repetition makes the next one rarer, so that tokens cannot multiply.
    """
    rotation = ring.rotation
    if token.ring != ring.ring or token.hop != rotation.hop or rotation.holding:
        return
    patience = rotation.rhythm.patience(ring.parameters.token_retransmit)
    if now - rotation.rhythm.passed_at >= ECHO_PATIENCE * patience:
        ring.resend_token(now)


def _free(ring: RingContext) -> None:
    """Forget what every member is known to have.

    By two visits, as safe delivery: freeing by one could free what a member, whose mark others raised meanwhile,
    still reports as its low mark in recovery.
    """
    up_to = ring.rotation.safe
    if ring.recovery is None:
        up_to = min(up_to, ring.installed.delivered)
    ring.store.release(up_to)
    ring.rotation.repeats.release(up_to)


def _request(ring: RingContext, listed: tuple[int, ...], highest: int) -> tuple[int, ...]:
    """Ask for what we have missed for several visits; two nodes that miss the same need one entry."""
    requests, parameters = ring.rotation.requests, ring.parameters
    wanted = list(listed)
    for seq in requests.visit(ring.store.holes(highest), parameters.miss_count_const):
        if seq not in listed:
            if len(wanted) == parameters.missing_max:
                break
            wanted.append(seq)
        requests.asked(seq)
    if len(wanted) > len(listed):
        ring.count("token.requested")
        ring.fact("ring.retransmit_list", Level.NOTICE, missing=tuple(wanted[len(listed) :]))
    return tuple(sorted(wanted))


def _fails_to_receive(ring: RingContext, received: int, held_back_by: int, now: float) -> bool:
    """Give up a member that gets the token but not the messages (docs/totem.md §4.4): by visits and by time."""
    rotation, parameters = ring.rotation, ring.parameters
    if received != rotation.forwarded or held_back_by == NOBODY:
        rotation.standstill_visits, rotation.standstill_seconds = 0, 0.0
        return False
    if rotation.standstill_visits == 0:
        rotation.standstill_since = now
    rotation.standstill_visits += 1
    stood = now - rotation.standstill_since
    rotation.standstill_seconds, rotation.laggard = stood, held_back_by
    visits = rotation.standstill_visits
    hopeless = (visits > parameters.fail_recv_const and stood >= parameters.token) or (
        visits > STANDSTILL_TIMEOUTS * parameters.miss_count_const and stood >= STANDSTILL_TIMEOUTS * parameters.token
    )
    if not hopeless or held_back_by == ring.me:
        return False
    ring.count("fail_to_receive")
    ring.fact("ring.failed_to_receive", Level.ERROR, node=held_back_by, received=received)
    give_up(ring, {held_back_by})
    enter_gather(ring, GatherReason.FAILED_TO_RECEIVE, now)
    return True


def take_frame(ring: RingContext, frame: Mcast, now: float) -> None:
    """A multicast of the current ring: keep it, and deliver what became deliverable."""
    requests = ring.rotation.requests
    if not ring.store.add(frame):
        ring.count("mcast.known")
        requests.came_again(frame.seq, ring.parameters.miss_count_const)
        if frame.origin == ring.me:
            ring.frame_size.repeated()
        return
    requests.came(frame.seq)
    if ring.recovery is not None:
        take_rebroadcast(ring, frame)
        return
    deliver_available(ring)
    if frame.kept:
        hear_kept(ring, frame, now)
