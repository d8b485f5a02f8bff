"""Mistakes in the token visit: total order, the received-by-all mark, retransmission, flow control, the idle ring."""

from __future__ import annotations

from contextlib import ExitStack
from unittest.mock import patch

from simcluster.mutants_base import Edit, Mutant, Patch, everywhere
from totemd.executive.totem.core import adaptation, keeping, ordering, origination, reactions
from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.flow import FlowAccount
from totemd.executive.totem.wire.packets import Token


def _tokens_count_in(state: RingState) -> Patch:
    def apply(stack: ExitStack) -> None:
        stack.enter_context(patch.dict(reactions.REACTIONS, {(state, Token): reactions.token_arrives}))

    apply.__doc__ = f"reactions.REACTIONS[{state.name}, Token]: `drop` -> `token_arrives`"
    return apply


def _request_nothing(stack: ExitStack) -> None:
    """ordering._request: adds nothing to the token's list"""
    everywhere(stack, ordering._request, lambda ring, listed, *_: listed)


ORDERING = (
    Mutant(
        "always_the_same_answers",
        "the same member sends a frame again each time that it is asked for",
        0,
        "story",
        (Edit(adaptation.Repeats.leaves_to_others, "return left > 0", "return False"),),
        "always_the_same_answers.txt",
    ),
    Mutant(
        "repeated_tokens_count",
        "a repeated token is visited again",
        10,
        "W1 W2 E10 livelock",
        (Edit(ordering.accepts_token, "token.hop <= ring.rotation.hop", "token.hop < ring.rotation.hop"),),
    ),
    Mutant(
        "old_tokens_count",
        "a token is accepted however old it is",
        10,
        "W1 W2 E10 livelock",
        (Edit(ordering.accepts_token, "token.hop <= ring.rotation.hop", "False"),),
    ),
    Mutant(
        "mark_not_lowered",
        "who misses something does not lower the received-by-all mark",
        40,
        "E14 E15 L3",
        (Edit(origination.received_by_all, "mine < token.received_by_all or ", ""),),
        "mark_not_lowered.txt",
    ),
    Mutant(
        "mark_not_raised",
        "the received-by-all mark is never updated",
        20,
        "L1 L3",
        (Edit(origination.received_by_all, "return mine, NOBODY if mine == highest else ring.me", "return 0, NOBODY"),),
        "mark_not_raised.txt",
    ),
    Mutant(
        "mark_raised_by_anybody",
        "anybody may raise the mark, not only who lowered it",
        20,
        "E14 E15 E8",
        (Edit(origination.received_by_all, "token.held_back_by in (ring.me, NOBODY)", "True"),),
        "mark_raised_by_anybody.txt",
    ),
    Mutant(
        "safe_after_one_visit",
        "safe messages are delivered on the mark of one visit",
        20,
        "E14 E15",
        (Edit(ordering.visit, "min(received, rotation.forwarded)", "received"),),
        "safe_after_one_visit.txt",
    ),
    Mutant(
        "safe_on_own_receipt",
        "what this node has received counts as received by all",
        20,
        "E14 E15",
        (Edit(ordering.visit, "min(received, rotation.forwarded)", "ring.store.received"),),
        "safe_on_own_receipt.txt",
    ),
    Mutant(
        "freed_after_one_visit",
        "frames are freed on the mark of one visit",
        60,
        "E8 E12 E13 E14 bug",
        (Edit(ordering._free, "up_to = ring.rotation.safe", "up_to = ring.rotation.forwarded"),),
        "freed_after_one_visit.txt",
    ),
    Mutant(
        "freed_when_delivered",
        "frames are freed as soon as they are delivered here",
        40,
        "E8 E12 E13 E14 bug",
        (Edit(ordering._free, "up_to = ring.rotation.safe", "up_to = ring.store.received"),),
        "freed_when_delivered.txt",
    ),
    Mutant(
        "requests_ignored",
        "nobody sends again what others ask for",
        0,
        "L1 L2 L3 story",
        (Edit(origination.retransmit, "frame is None or (spent and spent + size > budget)", "True"),),
        "requests_ignored.txt",
    ),
    Mutant(
        "nothing_requested",
        "a node that misses frames does not ask",
        0,
        "L1 L2 L3 story",
        (_request_nothing,),
        "nothing_requested.txt",
    ),
    Mutant(
        "number_used_twice",
        "the first frame of a visit gets the last number that was assigned",
        10,
        "W2 E10",
        (Edit(origination.originate, "_next_frame(ring, highest + 1,", "_next_frame(ring, max(highest, 1),"),),
    ),
    Mutant(
        "own_frames_not_kept",
        "a sender does not keep its frames for others",
        10,
        "E9 L1 L2 L3",
        (Edit(origination.originate, "        ring.store.add(frame)\n", ""),),
    ),
    Mutant(
        "ordinary_in_recovery",
        "new messages are sent while the ring is being recovered",
        10,
        "bug E17 E3",
        (
            Edit(
                origination.originate,
                "if ring.recovery else",
                "if ring.recovery and ring.recovery.queue else",
            ),
        ),
    ),
    Mutant(
        "flow_ignored",
        "a node does not look at what the others have sent, or have to send",
        40,
        "W4",
        (
            Edit(
                FlowAccount.allowed,
                "min(self.per_visit, max(0, self.window - (token.flow - self.sent)))",
                "self.per_visit",
                (("if total > 0:", "if False:"),),
            ),
        ),
        "flow_ignored.txt",
    ),
    Mutant(
        "held_token_proves",
        "a token that is used while it is held counts as a visit for safe delivery",
        40,
        "E8 E12 E13 E14 bug",
        (
            Edit(
                keeping._send_with_held_token,
                "rotation.forwarded = received",
                "rotation.safe = rotation.forwarded = received",
            ),
        ),
        "held_token_proves.txt",
    ),
    Mutant(
        "kept_token_starts_anew",
        "what was sent since the last visit does not count when a kept token is used again",
        0,
        "W4",
        (Edit(keeping._send_with_held_token, "before = rotation.flow.sent", "before = 0"),),
        "kept_token_starts_anew.txt",
    ),
    Mutant(
        "held_for_ever",
        "the token of an idle ring is never let go",
        5,
        "L4",
        (Edit(keeping._let_go, "if rotation.holding and", "if False and"),),
    ),
    Mutant(
        "hopeless_at_once",
        "a member that lags for one visit is given up as failing to receive",
        5,
        "L1 L4",
        (Edit(ordering._fails_to_receive, "if not hopeless or", "if"),),
    ),
    Mutant(
        "frames_of_other_rings",
        "a frame of another ring is taken for one of ours",
        0,
        "E1 E4 E10 W2",
        (Edit(reactions.frame_while_operational, "if frame.ring == ring.ring:", "if True:"),),
        "frames_of_other_rings.txt",
    ),
)
