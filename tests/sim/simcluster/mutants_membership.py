"""Mistakes in gather and commit, in what is durable, and in the state exchange."""

from __future__ import annotations

from contextlib import ExitStack
from unittest.mock import patch

from simcluster.mutants_base import Edit, Mutant, everywhere
from simcluster.node import Node
from totemd.executive.totem.core import backoff, delivery, earshot, membership, reactions
from totemd.executive.totem.core.context import RingContext, RingState
from totemd.executive.totem.core.effects import Effect, Persist
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.wire.packets import MergeDetect


def _wipe_disk(stack: ExitStack) -> None:
    """the simulated node: its disk is empty after a crash"""
    boot = Node.boot

    def forgetful(node: Node, _: object = None) -> None:
        if node.ring is None:
            node.disk = 0
        boot(node)

    stack.enter_context(patch.object(Node, "boot", forgetful))


def _persist_nothing(stack: ExitStack) -> None:
    """ring.Ring.take_effects: without `Persist`"""
    take_effects = Ring.take_effects

    def volatile(ring: Ring) -> list[Effect]:
        return [effect for effect in take_effects(ring) if not isinstance(effect, Persist)]

    stack.enter_context(patch.object(Ring, "take_effects", volatile))


def _open_lane(stack: ExitStack) -> None:
    """delivery.install: the application lane is open at once"""
    install = delivery.install

    def hasty(ring: RingContext, now: float) -> None:
        install(ring, now)
        ring.installed.synchronised = True

    everywhere(stack, install, hasty)


def _drop_merge_detects(stack: ExitStack) -> None:
    """reactions.REACTIONS[OPERATIONAL and GATHER, MergeDetect]: `drop`"""
    for state in (RingState.OPERATIONAL, RingState.GATHER):
        stack.enter_context(patch.dict(reactions.REACTIONS, {(state, MergeDetect): reactions.drop}))


MEMBERSHIP = (
    Mutant("disk_wiped", "the ring sequence is lost in a crash", 40, "E5 E6", (_wipe_disk,)),
    Mutant("not_persisted", "the ring sequence is never made durable", 5, "W3", (_persist_nothing,)),
    Mutant(
        "persisted_too_late",
        "the ring sequence is made durable after the commit token has left",
        5,
        "W3",
        (
            Edit(
                membership.enter_commit,
                "    ring.make_durable(token.ring.sequence)\n",
                "",
                (
                    (
                        "    ring.send_token(forwarded, now)\n",
                        "    ring.send_token(forwarded, now)\n    ring.make_durable(token.ring.sequence)\n",
                    ),
                ),
            ),
        ),
    ),
    Mutant(
        "application_lane_open",
        "messages are originated before the state exchange is complete",
        20,
        "E17",
        (_open_lane,),
        "application_lane_open.txt",
    ),
    Mutant("rings_do_not_merge", "merge detects are ignored", 5, "L1", (_drop_merge_detects,)),
    Mutant(
        "wrong_leader",
        "the highest id makes the commit token, not the lowest",
        5,
        "L1 W1",
        (Edit(membership.try_form, "if episode.proposed[0] == ring.me:", "if episode.proposed[-1] == ring.me:"),),
    ),
    Mutant(
        "agreement_not_awaited",
        "a ring is formed as soon as more than half have agreed",
        5,
        "L1 L4 crash",
        (
            Edit(
                membership.try_form,
                "not set(episode.proposed) <= agreeing(ring)",
                "2 * len(set(episode.proposed) & agreeing(ring)) <= len(episode.proposed)",
            ),
        ),
    ),
    Mutant(
        "sequence_of_own_rings_only",
        "a new ring's sequence is higher than our own rings only, not than all heard of",
        10,
        "E5 E6 L1",
        (
            Edit(
                RingContext.next_sequence,
                "max(self.highest_ring_sequence, self.ring.sequence)",
                "self.installed.ring.sequence",
            ),
        ),
    ),
    Mutant(
        "first_pass_is_enough",
        "recovery begins on a commit token that has not been everywhere",
        5,
        "crash L1",
        (
            Edit(
                membership.completes_commit,
                "        and token.filled == len(token.members)\n",
                "",
                (("        and token.hop == len(token.members) + position\n", ""),),
            ),
        ),
    ),
    Mutant(
        "gives_itself_up",
        "a node may regard itself as failed",
        10,
        "crash L1",
        (
            Edit(membership.give_up, "    lost.discard(ring.me)\n", ""),
            Edit(
                membership.consider_join,
                "    more_failed.discard(ring.me)\n",
                "",
                (("if ring.me in failed:", "if False:"),),
            ),
        ),
    ),
    Mutant(
        "joins_ignored_when_operational",
        "an operational ring does not hear who wants to join",
        10,
        "L1",
        (Edit(reactions.join_while_operational, "if ring.me in join.failed:", "if True:"),),
    ),
    Mutant(
        "older_joins_accepted",
        "a join from before the installed ring makes its members gather again",
        0,
        "story",
        (
            Edit(
                reactions.join_while_operational,
                "elif sender in members and join.ring_sequence < ring.ring.sequence:",
                "elif False:",
            ),
        ),
        "older_joins_accepted.txt",
    ),
    Mutant(
        "leftovers_are_strangers",
        "a packet of an earlier ring of a member counts as a sign of another ring",
        0,
        "story",
        (
            Edit(
                reactions.hear_other_ring,
                "if sender in ring.installed.members and packet.ring.sequence <= ring.ring.sequence:",
                "if False:",
            ),
        ),
        "leftovers_are_strangers.txt",
    ),
    Mutant(
        "hopeless_merges",
        "a ring tries again and again with one that is apart",
        0,
        "story",
        (Edit(backoff.MergeBackoff.ignores, "record.apart_since is not None", "False"),),
        "hopeless_merges.txt",
    ),
    Mutant(
        "fellows_not_asked",
        "nobody cares whether the other members hear a node, too",
        0,
        "story",
        (
            Edit(earshot._missed_by_any, "word.misses((node,))", "False"),
            Edit(earshot.Earshot.apart, "not said.apart.isdisjoint(members)", "False"),
        ),
        "fellows_not_asked.txt",
    ),
    Mutant(
        "joins_for_others_answered",
        "a ring is drawn into attempts that are not meant for it",
        0,
        "story",
        (Edit(reactions._outsider_is_ignored, "join.candidates != (sender,)", "False"),),
        "joins_for_others_answered.txt",
    ),
    Mutant(
        "attempts_begun_anew",
        "who goes on with the attempt from which it was excluded is answered",
        0,
        "story",
        (Edit(reactions._outsider_is_ignored, "join.ring_sequence < ring.ring.sequence", "False"),),
        "attempts_begun_anew.txt",
    ),
    Mutant(
        "consensus_excludes_nobody",
        "who does not agree in time is waited for",
        0,
        "L1 story",
        (Edit(membership.on_consensus_timeout, "    give_up(ring, missing)\n", ""),),
        "consensus_excludes_nobody.txt",
    ),
    Mutant(
        "token_loss_ignored",
        "nobody looks for a new ring when the token is lost",
        0,
        "L1 story",
        (Edit(reactions.token_lost, "    enter_gather(ring, because, now)\n", ""),),
        "token_loss_ignored.txt",
    ),
    Mutant(
        "never_synchronised",
        "the end of the state exchange does not open the application lane",
        10,
        "L3",
        (Edit(Ring.services_synchronised, "self._context.installed.synchronised = True", "pass"),),
    ),
)
