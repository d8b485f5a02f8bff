"""Where the token stays (docs/totem.md §4.8).

It *rests* on an idle ring with who sent last, until somebody asks for it or the hold time is over.  It is *kept* for a
moment by who is the only sender, so that what comes next goes out at once.  Either way this node is `holding` it.
"""

from __future__ import annotations

from ..wire.packets import HoldCancel, Mcast, Token
from .context import RingContext, RingState
from .delivery import deliver_available
from .flow import whole_frames
from .origination import backlog, bounded, originate, received_by_all, wants_to_send
from .timers import Timer

UNEQUAL_HOLD_SECONDS = 0.02
"""The token rests no longer where a member's options differ: its timeouts may be a fraction of ours."""

REPAIRS_PER_HOLD = 8
"""How often in a hold time the token goes round if somebody misses something: repairs at a bounded rate."""


def pass_on(ring: RingContext, token: Token, now: float, *, may_rest: bool) -> None:
    """Send the token to the next member, unless this is an idle ring and it rests here."""
    rotation, parameters = ring.rotation, ring.parameters
    idle = (
        ring.state is RingState.OPERATIONAL
        and ring.installed.synchronised
        and may_rest
        and not (parameters.cancel_token_hold_on_retransmit and token.missing)
    )
    rotation.keeper = ring.keeps_token
    # The keeper waits for a visit more, and for the mark to have gone round, so that all the others expect it; and once
    # the mark is where it should be for one round more, so that they all see it twice and know what is safe.
    complete = rotation.safe if rotation.keeper else token.received_by_all
    news = complete >= token.highest and not rotation.complete
    rotation.complete = complete >= token.highest
    patience = parameters.seqno_unchanged_const
    if parameters.park_visits and complete >= token.highest:
        patience = min(patience, parameters.park_visits)
    rotation.held = idle and rotation.unchanged_visits >= patience
    if rotation.held and rotation.keeper and rotation.unchanged_visits > patience and not news:
        _hold(ring, token, now + _rest_seconds(ring) / (REPAIRS_PER_HOLD if token.missing else 1))
        ring.count("token.held")
    else:
        ring.send_token(token, now)


def _rest_seconds(ring: RingContext) -> float:
    hold = ring.parameters.hold
    return hold if ring.other_options.keys().isdisjoint(ring.rotation.members) else min(hold, UNEQUAL_HOLD_SECONDS)


def may_keep(ring: RingContext, token: Token) -> bool:
    """Whether nobody else has sent since the token was here, wants to, waits for a mark to rise, or misses something.

    Who lacks a frame asks for it only after some visits, which would each take as long as the token is kept.
    """
    rotation = ring.rotation
    return (
        ring.parameters.keep > 0
        and ring.state is RingState.OPERATIONAL
        and ring.installed.synchronised
        and ring.receivers > 0
        and token.highest == rotation.originated
        and token.backlog == rotation.flow.reported
        and not token.missing
        and token.received_by_all >= token.highest
        and ring.installed.delivered >= token.highest
    )


def keep(ring: RingContext, token: Token, until: float) -> None:
    """This node is the only sender, and may have more to say soon: *token* stays here until then."""
    ring.rotation.keeper = ring.rotation.held = False
    ring.rotation.kept_until = until
    _hold(ring, token, until)
    ring.count("token.kept")


def _hold(ring: RingContext, token: Token, until: float) -> None:
    ring.rotation.holding = True
    ring.rotation.last_sent = token
    ring.timers.arm(Timer.HOLD, until)
    ring.timers.cancel(Timer.RETRANSMIT)


def hear_kept(ring: RingContext, frame: Mcast, now: float) -> None:
    """A new frame says that its sender keeps the token: we know now whom to ask, and whether we have to."""
    rotation = ring.rotation
    if frame.seq > (rotation.highest or 0):
        rotation.kept_elsewhere = True
        rotation.rhythm.disturbed()
        wake_ring(ring, now)


def end_rest(ring: RingContext) -> None:
    """The rotation that ends was no measure of the ring if another member kept the token in it."""
    if ring.rotation.held and not ring.rotation.keeper:
        ring.rotation.rhythm.disturbed()


def _send_with_held_token(ring: RingContext, token: Token, now: float, *, stays: bool) -> None:
    """The token is here: send with it as at a visit, and pass it on, or keep it if it *stays*.

    It has not been anywhere since the last visit, so nothing about the others can be concluded from it.
    """
    rotation = ring.rotation
    until = now + ring.parameters.keep if rotation.kept_until is None else rotation.kept_until
    before = rotation.flow.sent
    allowed = whole_frames(rotation.flow.allowed(token, backlog(ring)), ring.frame_datagrams_max)
    room = bounded(ring, token, allowed - before)
    keeps_on = stays and now < until and may_keep(ring, token)
    sending = originate(ring, token.highest, room, resent=before, may_keep=keeps_on)
    flow, total = rotation.flow.settle(token, before + sending.units, backlog(ring))
    received, held_back_by = received_by_all(ring, token, sending.highest)
    rotation.forwarded = received
    ring.count("token.used_while_held")
    used = Token(ring.ring, token.hop, sending.highest, received, held_back_by, flow, total, False, token.missing)
    if sending.kept:
        keep(ring, used, until)
    else:
        ring.send_token(used, now)
    deliver_available(ring)


def _let_go(ring: RingContext, now: float, *, stays: bool) -> None:
    """End the holding, if this node holds the token; its own messages come first."""
    rotation = ring.rotation
    if rotation.holding and isinstance(rotation.last_sent, Token):
        rotation.holding = False
        ring.timers.cancel(Timer.HOLD)
        if wants_to_send(ring):
            _send_with_held_token(ring, rotation.last_sent, now, stays=stays)
        else:
            ring.send_token(rotation.last_sent, now)


def release_held_token(ring: RingContext, now: float) -> None:
    """Timer HOLD: this node wants to send, or the token has been here for long enough."""
    _let_go(ring, now, stays=True)


def wake_ring(ring: RingContext, now: float) -> None:
    """There is something to send: if the token stays somewhere, use it or ask for it."""
    rotation = ring.rotation
    if ring.state is not RingState.OPERATIONAL or not (rotation.held or rotation.holding or rotation.kept_elsewhere):
        return
    if not wants_to_send(ring):
        return
    if rotation.held:
        end_rest(ring)
        rotation.held = False
        rotation.unchanged_visits = 0
        ring.count("token.hold_cancelled")
        if not rotation.holding and not rotation.keeper:
            rotation.waking = True
            ring.arm_repetition(now)
            ring.multicast_ring(HoldCancel(ring.ring))
    elif rotation.kept_elsewhere:
        ring.count("token.keeping_cancelled")
        ring.multicast_ring(HoldCancel(ring.ring))
    rotation.kept_elsewhere = False
    if rotation.holding:
        ring.timers.arm(Timer.HOLD, now)  # at once, with all that is submitted at this time


def on_hold_cancel(ring: RingContext, now: float) -> None:
    """Somebody wants to send, and believes that the token stays somewhere."""
    rotation = ring.rotation
    end_rest(ring)
    rotation.unchanged_visits = 0
    rotation.held = rotation.kept_elsewhere = False
    _let_go(ring, now, stays=False)


def repeat_token(ring: RingContext, now: float) -> None:
    """Timer RETRANSMIT: the successor may not have got the token, or who holds it that we want it."""
    if ring.rotation.waking or wants_to_send(ring):
        # Whoever holds the token may have thought that everybody knows.
        ring.multicast_ring(HoldCancel(ring.ring))
    ring.resend_token(now)
