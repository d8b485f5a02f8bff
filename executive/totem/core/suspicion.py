"""Quick where certainty is cheap: members whose process is gone are given up before the token is (docs/totem.md §5.9).

Two ways to know.  An obituary is proof: the node's executive sends what the process itself had sealed.  A closed port
is a hint only, since anybody can forge it: the node is asked, and given up when it has not said anything by the time
that several answers would have taken.  A node that is only slow closes no port and keeps the whole token timeout.
"""

from __future__ import annotations

from typing import Final

from ..wire.packets import Alive, Probe
from .context import GatherReason, RingContext, RingState, Suspect
from .effects import Level, Unicast
from .membership import enter_gather, give_up
from .timers import Timer

PROBES: Final = 3
"""Probes that a suspect leaves unanswered before it is given up; two of them may be lost."""

PROBE_SECONDS_MIN: Final = 0.03
"""Shortest time for an answer: a process on a busy machine may wait so long for a processor."""

PROBE_ROTATIONS: Final = 1
"""Measured rotations that an answer may take, if that is longer; it takes two hops, a rotation at least as many."""

PROBE_TOKEN_SHARE: Final = 1 / 8
"""An answer may take no more than this share of the token timeout, so that the verdict never comes after it."""

RESPITE_SECONDS: Final = 0.1
"""Who has answered is not asked again for so long: forged hints cost at most ten small packets a second."""

LISTEN_RETRANSMITS: Final = 2
"""After a pause a token may take so many retransmit timeouts before it counts as lost."""


def process_ended(ring: RingContext, node: int, now: float) -> None:
    """An obituary: re-form without *node* if it is part of what we have, or are about to have."""
    ring.suspects.pop(node, None)
    if ring.left or ring.flushing or not _matters(ring, node):
        ring.count("suspicion.obituary_of_nobody")
        return
    ring.count("suspicion.obituary")
    ring.fact("ring.process_ended", Level.NOTICE, node=node)
    give_up(ring, {node})
    enter_gather(ring, GatherReason.PROCESS_ENDED, now)


def node_removed(ring: RingContext, node: int, now: float) -> None:
    """Re-form without *node* at once: nothing that it sends will be taken from now on."""
    ring.suspects.pop(node, None)
    if ring.left or not _matters(ring, node):
        return
    ring.fact("ring.node_removed", Level.NOTICE, node=node)
    give_up(ring, {node})
    enter_gather(ring, GatherReason.NODE_REMOVED, now)


def port_closed(ring: RingContext, node: int, now: float) -> None:
    """A hint: ask *node*, unless that is going on or was answered just now."""
    if ring.left or ring.flushing or node in ring.suspects or not _matters(ring, node):
        ring.count("suspicion.hint_ignored")
        return
    if now < ring.unsuspicious_until.get(node, now):
        ring.count("suspicion.hint_too_soon")
        return
    ring.count("suspicion.hint")
    ring.suspects[node] = Suspect(0, now)
    ask_suspects(ring, now)


def ask_suspects(ring: RingContext, now: float) -> None:
    """Timer PROBE: ask again whoever has not answered; give up who was asked often enough."""
    gone = set[int]()
    for node, suspect in ring.suspects.items():
        if suspect.due > now:
            continue
        if suspect.probes == PROBES:
            gone.add(node)
            continue
        suspect.probes += 1
        suspect.due = now + answer_seconds(ring)
        ring.emit(Unicast(node, Probe(answer=True)))
    for node in gone:
        del ring.suspects[node]
    if ring.suspects:
        ring.timers.arm(Timer.PROBE, min(suspect.due for suspect in ring.suspects.values()))
    gone = {node for node in gone if _matters(ring, node)}
    if gone:
        ring.count("suspicion.gone")
        ring.fact("ring.process_gone", Level.NOTICE, nodes=tuple(sorted(gone)))
        give_up(ring, gone)
        enter_gather(ring, GatherReason.PROCESS_GONE, now)


def answer_seconds(ring: RingContext) -> float:
    """How long an answer to a probe may take: measured, within bounds."""
    wanted = max(PROBE_SECONDS_MIN, PROBE_ROTATIONS * ring.rotation.rhythm.mean)
    return min(wanted, PROBE_TOKEN_SHARE * ring.parameters.token)


def heard(ring: RingContext, node: int, now: float) -> None:
    """Any packet of a suspect clears it: it came through the window that lets nothing old pass."""
    if ring.suspects.pop(node, None) is not None:
        ring.count("suspicion.cleared")
        ring.unsuspicious_until[node] = now + RESPITE_SECONDS


def probe_arrives(ring: RingContext, probe: Probe, sender: int, now: float) -> None:
    """In every state: say that we are here."""
    if probe.answer:
        ring.emit(Unicast(sender, Alive()))


def still_there(ring: RingContext, packet: Alive, sender: int, now: float) -> None:
    """An answer; `heard` has drawn the conclusion."""
    ring.count("suspicion.answered")


def start_knocking(ring: RingContext, now: float) -> None:
    """Boot: from now on the successor is sent something at least every `knock` seconds."""
    if ring.parameters.knock:
        ring.timers.arm(Timer.KNOCK, now + ring.parameters.knock)


def knock(ring: RingContext, now: float) -> None:
    """Timer KNOCK: a network complains about nobody who is sent nothing.

    Each member watches its successor, so the whole ring is watched.  While we gather, joins do it.
    """
    target, quiet = ring.rotation.target, now - ring.rotation.rhythm.passed_at >= ring.parameters.knock
    if ring.state is not RingState.GATHER and target != ring.me and quiet:
        ring.emit(Unicast(target, Probe(answer=False)))
    start_knocking(ring, now)


def listen_again(ring: RingContext, now: float) -> None:
    """After a pause: what became due meanwhile says nothing about others; they get time to be heard."""
    parameters, timers = ring.parameters, ring.timers
    patience = LISTEN_RETRANSMITS * parameters.token_retransmit
    for timer, seconds in (
        (Timer.CONSENSUS, parameters.consensus),
        (Timer.LOSS, patience),
        (Timer.HEARTBEAT, patience),
        (Timer.LOSS_WARNING, patience),
    ):
        if timers.is_due(timer, now):
            ring.count(f"pause.{timer.name.lower()}_put_off")
            timers.arm(timer, now + seconds)


def _matters(ring: RingContext, node: int) -> bool:
    """Whether *node* is part of the ring, or of what we try to form."""
    if node == ring.me:
        return False
    if ring.state is RingState.GATHER:
        return node in ring.episode.proposed
    return node in ring.rotation.members
