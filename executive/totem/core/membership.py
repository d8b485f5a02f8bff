"""Gather and commit: who forms the next ring (docs/totem.md §5)."""

from __future__ import annotations

from msgspec.structs import replace

from ....ipc.ids import RingId
from ..wire.packets import CommitToken, Join, MemberEntry
from .context import Episode, GatherReason, RingContext, RingState
from .effects import Level, Multicast, Scope
from .timers import Timer

RETRY_SPREAD = 1 / 4
"""Share of the consensus timeout by which it is longer, at the most, after an attempt that failed."""

TOKEN_LOST = frozenset(
    {
        GatherReason.TOKEN_LOST_WAITING,
        GatherReason.TOKEN_LOST_COMMIT,
        GatherReason.TOKEN_LOST_RECOVERY,
    }
)
"""Reasons that mean: the attempt on these sets failed because a token did not get through."""


def enter_gather(ring: RingContext, because: GatherReason, now: float) -> None:
    """Look for a new membership; also called again whenever the sets change."""
    was = ring.state
    if was is RingState.OPERATIONAL:
        ring.episode.began, ring.episode.rounds = now, 0
    if was is not RingState.GATHER or because is GatherReason.TOKEN_LOST_WAITING:
        # What others said before an attempt failed is no agreement to the next one.
        ring.episode.joins.clear()
    if ring.rotation.standstill_seconds >= ring.parameters.token / 2:
        # One member was the first to give it up; all have seen the same, and must agree to keep it away.
        ring.episode.deaf |= {ring.rotation.laggard}
    if because in TOKEN_LOST:
        ring.episode.attempt_lost = True
    if ring.recovery is not None:
        ring.recovery = None  # what recovery brought into the installed ring's store stays there
        ring.count("recovery.interrupted")
    ring.state = RingState.GATHER
    ring.rotation.holding = ring.rotation.held = False
    ring.loopback.clear()
    ring.episode.reason = because
    ring.episode.waiting = False
    ring.episode.rounds += 1
    ring.count(f"gather.{was.value}.{because.name}")
    level = Level.NOTICE if was is RingState.OPERATIONAL else Level.DEBUG
    ring.fact("ring.gather", level, because=because.value, state=was.value, candidates=ring.episode.candidates,
              failed=ring.episode.failed)  # fmt: skip
    ring.timers.cancel_all()
    _schedule_join(ring, now)
    ring.timers.arm(Timer.CONSENSUS, now + _patience(ring))
    try_form(ring, now)


def _patience(ring: RingContext) -> float:
    """How long to wait for consensus.

    After an attempt that failed somewhat longer, at random: two members whose timeouts meet in an unlucky way, one that
    gives up just when the other one takes it up, would else meet in the same way again and again.
    """
    spread = RETRY_SPREAD * ring.jitter() if ring.episode.attempt_lost else 0.0
    return ring.parameters.consensus * (1 + spread)


def _schedule_join(ring: RingContext, now: float) -> None:
    """Send a join soon: changes that come close together go out as one."""
    coalesce = min(ring.parameters.join_coalesce, ring.parameters.join / 5)
    earliest = max(now, ring.last_join_sent + coalesce)
    spread = ring.parameters.send_join if ring.parameters.send_join else coalesce
    ring.timers.arm(Timer.JOIN, earliest + ring.jitter() * spread)


def send_join(ring: RingContext, now: float) -> None:
    """Timer JOIN: say what we think, and again after the join timeout."""
    episode = ring.episode
    join = Join(
        episode.candidates,
        episode.failed,
        ring.ring.sequence,
        episode.rotations,
        leaving=False,
        options_digest=ring.parameters.options_digest,
    )
    ring.last_join_sent = now
    ring.emit(Multicast(join, Scope.ALL))
    ring.timers.arm(Timer.JOIN, now + ring.parameters.join)


def agreeing(ring: RingContext) -> set[int]:
    """Paper: the consensus array.  Nodes whose last join equals our sets, and we."""
    episode = ring.episode
    return {ring.me} | {
        node
        for node, join in episode.joins.items()
        if join.candidates == episode.candidates and join.failed == episode.failed
    }


def knows_more(ring: RingContext, join: Join) -> bool:
    """Whether a join names a node, as candidate or as failed, that our sets do not have there.

    Sets only grow within an episode, so such a join is younger than the agreement of its sender to our sets.
    """
    episode = ring.episode
    return not (set(join.candidates) <= set(episode.candidates) and set(join.failed) <= set(episode.failed))


def compare_options(ring: RingContext, join: Join, sender: int) -> None:
    """Say it once if *sender* has other timeouts, windows or nodes: nothing else tells why the ring flaps then."""
    differs = join.options_digest != ring.parameters.options_digest
    if differs and ring.other_options.get(sender) != join.options_digest:
        ring.fact("ring.other_options", Level.WARNING, node=sender)
        ring.other_options[sender] = join.options_digest
    elif not differs:
        ring.other_options.pop(sender, None)


def consider_join(ring: RingContext, join: Join, sender: int, now: float) -> None:
    """A join or leave while we gather: the rows of docs/totem.md §5.2, in that order."""
    episode = ring.episode
    ring.highest_ring_sequence = max(ring.highest_ring_sequence, join.ring_sequence)
    if join.leaving:
        _note_leaver(episode, sender)
    else:
        episode.joins[sender] = join
    candidates, failed = set(join.candidates), set(join.failed)
    ours, given_up = set(episode.candidates), set(episode.failed)
    if candidates == ours and failed == given_up:
        ring.count("join.row1")
        if not join.leaving:
            try_form(ring, now)
        return
    if candidates <= ours and failed <= given_up:
        ring.count("join.row2")
        return
    if sender in given_up:
        ring.count("join.row3")
        return
    if ring.me in failed:
        more_failed = {sender}  # it has given us up: we cannot be in one ring
    elif sender in ring.installed.members:
        more_failed = failed
    else:
        more_failed = failed - set(ring.installed.members)  # an outsider may not break up our ring
    more_failed.discard(ring.me)
    grown = tuple(sorted(ours | candidates | {sender}))
    lost = tuple(sorted(given_up | more_failed))
    if (grown, lost) == (episode.candidates, episode.failed):
        ring.count("join.row4b")
        return
    ring.count("join.row4a")
    episode.candidates, episode.failed = grown, lost
    enter_gather(ring, GatherReason.LEAVE if join.leaving else GatherReason.JOIN, now)


def _note_leaver(episode: Episode, sender: int) -> None:
    if sender not in episode.leavers:
        episode.leavers = (*episode.leavers, sender)


def add_candidate(ring: RingContext, node: int) -> bool:
    """Consider *node* for the next ring; False if it was considered already."""
    if node in ring.episode.candidates:
        return False
    ring.episode.candidates = tuple(sorted((*ring.episode.candidates, node)))
    return True


def give_up(ring: RingContext, nodes: set[int]) -> None:
    """Regard *nodes* as failed; never ourselves."""
    lost = set(ring.episode.failed) | nodes
    lost.discard(ring.me)
    ring.episode.failed = tuple(sorted(lost))


def on_consensus_timeout(ring: RingContext, now: float) -> None:
    """Timer CONSENSUS: who has not agreed by now is regarded as failed."""
    missing = set(ring.episode.proposed) - agreeing(ring)
    ring.fact("ring.consensus_timeout", Level.INFO, missing=tuple(sorted(missing)))
    give_up(ring, missing)
    enter_gather(ring, GatherReason.CONSENSUS_TIMEOUT, now)


def try_form(ring: RingContext, now: float) -> None:
    """Form a ring if everybody proposed agrees: the lowest creates the commit token, the others wait for it."""
    episode = ring.episode
    if episode.waiting or not set(episode.proposed) <= agreeing(ring):
        return
    sets = (episode.candidates, episode.failed)
    if episode.attempt_lost and episode.tried == sets and len(episode.proposed) > 1:
        _suspect(ring, now)
        return
    episode.tried, episode.attempt_lost, episode.rotations = sets, False, 0
    ring.timers.cancel(Timer.CONSENSUS)
    if episode.proposed[0] == ring.me:
        enter_commit(ring, CommitToken(RingId(ring.next_sequence(), ring.me), 0, 0, episode.proposed, ()), now)
    else:
        episode.waiting = True
        # All at the same time, not one after the other when the commit token comes: disks may be slow.
        ring.make_durable(ring.next_sequence())
        ring.timers.arm(Timer.LOSS, now + ring.parameters.token)


def _suspect(ring: RingContext, now: float) -> None:
    """Rule A: the same sets failed once already; exclude the first node that the token did not reach.

    Everybody computes the same suspect, from the same joins.  Without this, nodes that cannot hear each other would
    reach consensus again and again and never install anything.
    """
    episode = ring.episode
    forwarded = {ring.me: episode.rotations} | {node: join.rotations for node, join in episode.joins.items()}
    order = {node: position for position, node in enumerate(episode.proposed)}
    suspect = min(episode.proposed, key=lambda node: (forwarded[node], order[node]))
    ring.count("gather.suspect")
    give_up(ring, set(episode.proposed) if suspect == ring.me else {suspect})
    episode.attempt_lost = False
    ring.fact("ring.suspect", Level.WARNING, suspect=suspect, failed=episode.failed)
    enter_gather(ring, GatherReason.SUSPECT, now)


def accepts_commit(ring: RingContext, token: CommitToken) -> bool:
    """Whether a commit token of the first pass is for us and fits what we agreed to (state GATHER)."""
    return (
        token.members == ring.episode.proposed
        and token.filled < len(token.members)
        and token.members[token.filled] == ring.me
        and token.hop == token.filled
        and token.ring.sequence > ring.ring.sequence
        and token.ring.representative == token.members[0]
    )


def enter_commit(ring: RingContext, token: CommitToken, now: float) -> None:
    """Accept a proposed ring: report our state in the token, make its sequence durable, pass it on."""
    installed = ring.installed
    entry = MemberEntry(installed.ring, installed.store.received, installed.delivered, installed.obliged)
    forwarded = replace(token, entries=(*token.entries, entry), filled=token.filled + 1, hop=token.hop + 1)
    ring.state = RingState.COMMIT
    ring.ring = token.ring
    ring.highest_ring_sequence = max(ring.highest_ring_sequence, token.ring.sequence)
    ring.rotation = ring.new_rotation(token.members)
    ring.episode.waiting = False
    ring.count("commit.entered")
    ring.fact("ring.commit", Level.DEBUG, ring=str(token.ring), members=token.members)
    ring.make_durable(token.ring.sequence)
    ring.timers.cancel_all()
    ring.send_token(forwarded, now)
    ring.arm_token_timers(now)


def completes_commit(ring: RingContext, token: CommitToken) -> bool:
    """Whether a commit token is the second pass of the ring we committed to (state COMMIT)."""
    position = token.members.index(ring.me) if ring.me in token.members else 0
    return (
        token.ring == ring.ring
        and token.members == ring.rotation.members
        and token.filled == len(token.members)
        and token.hop == len(token.members) + position
    )
