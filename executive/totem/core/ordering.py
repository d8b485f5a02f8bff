"""The token visit: the total order, retransmission, flow control (docs/totem.md §4).

`visit` is the protocol's inner loop; the order of its steps matters (docs/totem.md §4).
"""

from __future__ import annotations

from ..wire.codec import MCAST_OVERHEAD_BYTES
from ..wire.packets import NOBODY, HoldCancel, Mcast, Token
from .context import GatherReason, RingContext, RingState
from .delivery import deliver_available, install
from .effects import Level, Originated
from .flow import units, whole_frames
from .membership import enter_gather, give_up
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
    was_away = _arrived(ring, token, now)
    _free(ring)
    backlog = _backlog(ring)
    allowed = whole_frames(rotation.flow.allowed(token, backlog), ring.frame_datagrams_max)
    missing, resent = _retransmit(ring, token.missing, max(allowed, 1))
    missing = _request(ring, missing, token.highest)
    highest, sent = _originate(ring, token.highest, _bounded(ring, token, allowed - resent))
    backlog = _backlog(ring)
    flow, total = rotation.flow.settle(token, resent + sent, backlog)
    rotation.flow.adapt(lost=bool(token.missing), wanted_more=backlog > 0, rotation_seconds=rotation.rhythm.mean)
    received, held_back_by = _received_by_all(ring, token, highest)
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
    # The others have waited as long for a token that was long under way, and are not to wait for the hold time too.
    rests = not (sent or resent) and was_away <= ring.parameters.token_retransmit
    _pass_on(ring, visited, now, may_rest=rests)
    if ring.state is RingState.OPERATIONAL:
        deliver_available(ring)


def _arrived(ring: RingContext, token: Token, now: float) -> float:
    """Note that the token is here; returns for how many seconds it was away."""
    rotation = ring.rotation
    ring.arm_token_timers(now)
    ring.count("token.visited")
    ring.timers.cancel(Timer.HOLD)
    if rotation.held:
        _rested(ring)
    was_away = now - rotation.rhythm.first_passed_at
    rotation.rhythm.returned(now)
    rotation.holding = rotation.waking = False
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


def _rested(ring: RingContext) -> None:
    """The rotation that ends was no measure of the ring if another member kept the token in it."""
    if not ring.rotation.keeper:
        ring.rotation.rhythm.disturbed()


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


def _backlog(ring: RingContext) -> int:
    """What this node could send now, in datagram units."""
    size = ring.parameters.datagram_bytes
    if ring.recovery is not None:
        return sum(units(len(frame.body), size) for frame in ring.recovery.queue.values())
    pending = ring.outbox.pending_bytes(application=ring.installed.synchronised)
    return units(pending, size) if pending else 0


def _retransmit(ring: RingContext, wanted: tuple[int, ...], budget: int) -> tuple[tuple[int, ...], int]:
    """Send again what others miss and we have; returns (what is still missing, units sent)."""
    still: list[int] = []
    repeats = ring.rotation.repeats
    spent = 0
    for seq in wanted:
        frame = ring.store.get(seq)
        if frame is None or spent >= budget or repeats.is_for_others(seq):
            still.append(seq)
            continue
        repeats.sent(seq, ring.receivers - 1)
        ring.multicast_ring(frame)
        ring.count("mcast.retransmitted")
        if frame.origin == ring.me:
            ring.frame_size.repeated()
        spent += units(len(frame.body), ring.parameters.datagram_bytes)
    return tuple(still), spent


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


def _bounded(ring: RingContext, token: Token, allowed: int) -> int:
    """Stop sending before anybody's store is full: the slowest receiver throttles all."""
    if allowed <= 0:
        return 0
    # The others may send up to a window before this node sees the token again.
    parameters = ring.parameters
    window = parameters.window_size * parameters.window_growth
    room = ring.store.room(token.highest) - min(window, parameters.store_frames_max // 2)
    if room < allowed:
        ring.count("flow.store_limit")
    return min(allowed, max(0, room))


def _originate(ring: RingContext, highest: int, allowed: int) -> tuple[int, int]:
    """Give our waiting frames their numbers and send them; returns (highest number, units sent)."""
    sent = 0
    while sent < allowed:
        frame = _next_rebroadcast(ring, highest + 1) if ring.recovery is not None else _next_frame(ring, highest + 1)
        if frame is None:
            break
        highest = ring.rotation.originated = frame.seq
        ring.store.add(frame)
        ring.multicast_ring(frame)
        ring.count("mcast.originated")
        size = units(len(frame.body) + MCAST_OVERHEAD_BYTES, ring.parameters.datagram_bytes)
        ring.frame_size.sent(size, ring.receivers)
        sent += size
    return highest, sent


def _next_rebroadcast(ring: RingContext, seq: int) -> Mcast | None:
    assert ring.recovery is not None
    if not ring.recovery.queue:
        return None
    waiting = ring.recovery.queue.pop(next(iter(ring.recovery.queue)))
    return Mcast(ring.ring, seq, ring.me, waiting.guarantee, True, waiting.body)


def _next_frame(ring: RingContext, seq: int) -> Mcast | None:
    frame = ring.outbox.next_frame(ring.frame_bytes(), application=ring.installed.synchronised)
    if frame is None:
        return None
    for done in frame.completed:
        ring.emit(Originated(done.number, done.channel, ring.ring, seq, done.payload_bytes))
    return Mcast(ring.ring, seq, ring.me, frame.guarantee, False, frame.body)


def _received_by_all(ring: RingContext, token: Token, highest: int) -> tuple[int, int]:
    """Paper: aru and aru_id.  The mark only rises when who lowered it passes, or when nobody lags."""
    mine = ring.store.received
    if mine < token.received_by_all or token.held_back_by in (ring.me, NOBODY):
        return mine, NOBODY if mine == highest else ring.me
    return token.received_by_all, token.held_back_by


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


def _pass_on(ring: RingContext, token: Token, now: float, *, may_rest: bool) -> None:
    """Send the token to the next member, unless this is an idle ring and we are the one to hold it."""
    rotation, parameters = ring.rotation, ring.parameters
    idle = (
        ring.state is RingState.OPERATIONAL
        and ring.installed.synchronised
        and may_rest
        and not (parameters.cancel_token_hold_on_retransmit and token.missing)
    )
    rotation.keeper = ring.keeps_token
    # The keeper waits for a visit more, and for the mark to have gone round, so that all the others expect it.
    complete = rotation.safe if rotation.keeper else token.received_by_all
    patience = parameters.seqno_unchanged_const
    if parameters.park_visits and complete >= token.highest:
        patience = min(patience, parameters.park_visits)
    rotation.held = idle and rotation.unchanged_visits >= patience
    if rotation.held and rotation.keeper and rotation.unchanged_visits > patience:
        rotation.holding = True
        rotation.last_sent = token
        # Repairs go on while the token is held, at a bounded rate.
        pause = parameters.hold / 8 if token.missing else parameters.hold
        ring.timers.arm(Timer.HOLD, now + pause)
        ring.timers.cancel(Timer.RETRANSMIT)
        ring.count("token.held")
    else:
        ring.send_token(token, now)


def _send_with_held_token(ring: RingContext, now: float) -> None:
    """The token is kept here: send with it as at a visit, and pass it on.

    It has not been anywhere since the last visit, so nothing about the others can be concluded from it.
    """
    rotation, token = ring.rotation, ring.rotation.last_sent
    assert isinstance(token, Token)
    rotation.holding = False
    ring.timers.cancel(Timer.HOLD)
    allowed = whole_frames(rotation.flow.allowed(token, _backlog(ring)), ring.frame_datagrams_max)
    highest, sent = _originate(ring, token.highest, _bounded(ring, token, allowed))
    flow, total = rotation.flow.settle(token, sent, _backlog(ring))
    received, held_back_by = _received_by_all(ring, token, highest)
    rotation.forwarded = received
    ring.count("token.used_while_held")
    used = Token(ring.ring, token.hop, highest, received, held_back_by, flow, total, False, token.missing)
    ring.send_token(used, now)
    deliver_available(ring)


def release_held_token(ring: RingContext, now: float) -> None:
    """Let the token of an idle ring go (timer HOLD, or somebody wants to send); this node's own come first."""
    rotation = ring.rotation
    if rotation.holding and isinstance(rotation.last_sent, Token):
        if _wants_to_send(ring):
            _send_with_held_token(ring, now)
            return
        rotation.holding = False
        ring.timers.cancel(Timer.HOLD)
        ring.send_token(rotation.last_sent, now)


def wake_ring(ring: RingContext, now: float) -> None:
    """There is something to send: if the token is held, ask for it."""
    rotation = ring.rotation
    if ring.state is not RingState.OPERATIONAL or not rotation.held:
        return
    if not _wants_to_send(ring):
        return
    _rested(ring)
    rotation.held = False
    rotation.unchanged_visits = 0
    ring.count("token.hold_cancelled")
    if rotation.holding:
        ring.timers.arm(Timer.HOLD, now)  # at once, with all that is submitted at this time
    elif not rotation.keeper:
        rotation.waking = True
        ring.multicast_ring(HoldCancel(ring.ring))
        ring.arm_repetition(now)


def _wants_to_send(ring: RingContext) -> bool:
    return ring.outbox.pending_bytes(application=ring.installed.synchronised) > 0


def on_hold_cancel(ring: RingContext, now: float) -> None:
    """Somebody wants to send on the idle ring."""
    if ring.rotation.held:
        _rested(ring)
    ring.rotation.unchanged_visits = 0
    ring.rotation.held = False
    release_held_token(ring, now)


def repeat_token(ring: RingContext, now: float) -> None:
    """Timer RETRANSMIT: the successor may not have got the token, or the representative that we want it."""
    if ring.rotation.waking or _wants_to_send(ring):
        # Whoever keeps the token may have thought that everybody knows.
        ring.multicast_ring(HoldCancel(ring.ring))
    ring.resend_token(now)


def take_frame(ring: RingContext, frame: Mcast) -> None:
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
    else:
        deliver_available(ring)
