"""Broken variants of the protocol: each must be noticed, else the simulation is too gentle.

A mutant patches the core for the length of a `with` block.  Functions are replaced in every module that imported them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from simcluster.node import Node
from totemd.executive.totem.core import delivery, membership, ordering, reactions, recovery
from totemd.executive.totem.core.context import Installed, RingContext, RingState
from totemd.executive.totem.core.effects import Effect, Persist
from totemd.executive.totem.core.outbox import Outbox
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.core.store import FrameStore
from totemd.executive.totem.wire.packets import CommitToken, Mcast, MergeDetect, Token
from totemd.ipc.messages.stream import Lane

CORE = "totemd.executive.totem.core."

Patch = Callable[[ExitStack], None]


@dataclass(frozen=True)
class Mutant:
    """One way to break the protocol."""

    name: str
    what: str
    seeds: int
    """It must be caught within so many seeds, counted from 0."""
    apply: Patch
    nodes: tuple[int, int] = (3, 5)

    @contextmanager
    def active(self) -> Iterator[None]:
        """The protocol is broken within."""
        with ExitStack() as stack:
            self.apply(stack)
            yield


def everywhere(stack: ExitStack, original: Callable[..., Any], replacement: Callable[..., Any]) -> None:
    """Replace a function in each core module that knows it by its name."""
    name = original.__name__
    for module in [module for path, module in sorted(sys.modules.items()) if path.startswith(CORE)]:
        if getattr(module, name, None) is original:
            stack.enter_context(patch.object(module, name, replacement))


def _not_merged(stack: ExitStack) -> None:
    everywhere(stack, recovery.take_rebroadcast, lambda ring, frame: None)


def _forgotten_on_failure(stack: ExitStack) -> None:
    enter_recovery, enter_gather = recovery.enter_recovery, membership.enter_gather
    kept: dict[RingContext, FrameStore] = {}

    def remember(ring: RingContext, token: CommitToken, now: float) -> None:
        copy = FrameStore(ring.parameters.store_frames_max, ring.installed.store.released)
        for frame in ring.installed.store.above(0):
            copy.add(frame)
        kept[ring] = copy
        enter_recovery(ring, token, now)

    def forget(ring: RingContext, because: Any, now: float) -> None:
        if ring.recovery is not None:
            ring.installed.store = kept[ring]
        enter_gather(ring, because, now)

    everywhere(stack, enter_recovery, remember)
    everywhere(stack, enter_gather, forget)


def _safe_after_one_visit(stack: ExitStack) -> None:
    received_by_all = ordering._received_by_all

    def rash(ring: RingContext, token: Token, highest: int) -> tuple[int, int]:
        received, held_back_by = received_by_all(ring, token, highest)
        ring.rotation.forwarded = received
        return received, held_back_by

    everywhere(stack, received_by_all, rash)


def _no_safe_stop(stack: ExitStack) -> None:
    close = delivery._close_old_ring

    def careless(ring: RingContext, old: Installed, delivered_by_somebody: int) -> None:
        close(ring, old, old.store.highest)
        ring.counters.pop("bug.install_below_delivered", None)

    everywhere(stack, close, careless)


def _cut_by_own_mark(stack: ExitStack) -> None:
    close = delivery._close_old_ring
    everywhere(stack, close, lambda ring, old, _: close(ring, old, old.delivered))


def _everything_behind_holes(stack: ExitStack) -> None:
    rest = delivery._deliver_rest

    def trusting(ring: RingContext, old: Installed) -> None:
        old.obligations = tuple(range(1, 100))
        rest(ring, old)

    everywhere(stack, rest, trusting)


def _nothing_behind_holes(stack: ExitStack) -> None:
    rest = delivery._deliver_rest

    def distrustful(ring: RingContext, old: Installed) -> None:
        old.obligations = ()
        rest(ring, old)

    everywhere(stack, rest, distrustful)


def _freed_after_one_visit(stack: ExitStack) -> None:
    visit = ordering.visit

    def hasty(ring: RingContext, token: Token, now: float) -> None:
        if ring.state is RingState.OPERATIONAL:
            ring.installed.store.release(min(ring.rotation.forwarded, ring.installed.delivered))
        visit(ring, token, now)

    everywhere(stack, visit, hasty)


def _not_frozen(stack: ExitStack) -> None:
    def store_anyway(ring: RingContext, frame: Mcast, sender: int, now: float) -> None:
        if frame.ring == ring.installed.ring and not frame.encapsulated:
            ring.installed.store.add(frame)
        elif ring.state is RingState.RECOVERY:
            reactions.frame_while_recovering(ring, frame, sender, now)

    for state in (RingState.COMMIT, RingState.RECOVERY):
        stack.enter_context(patch.dict(reactions.REACTIONS, {(state, Mcast): store_anyway}))


def _obligations_ignored(stack: ExitStack) -> None:
    enter_commit = membership.enter_commit

    def oblivious(ring: RingContext, token: CommitToken, now: float) -> None:
        ring.installed.obliged = False
        enter_commit(ring, token, now)

    everywhere(stack, enter_commit, oblivious)


def _one_quiet_visit(stack: ExitStack) -> None:
    stack.enter_context(patch.object(recovery, "ROTATIONS_BEFORE_INSTALL", 1))
    stack.enter_context(patch.object(recovery, "QUIET_VISITS_BEFORE_INSTALL", 2))


def _disk_wiped(stack: ExitStack) -> None:
    boot = Node.boot

    def forgetful(node: Node, _: object = None) -> None:
        if node.ring is None:
            node.disk = 0
        boot(node)

    stack.enter_context(patch.object(Node, "boot", forgetful))


def _not_persisted(stack: ExitStack) -> None:
    take_effects = Ring.take_effects

    def volatile(ring: Ring) -> list[Effect]:
        return [effect for effect in take_effects(ring) if not isinstance(effect, Persist)]

    stack.enter_context(patch.object(Ring, "take_effects", volatile))


def _repeated_tokens_count(stack: ExitStack) -> None:
    accepts = ordering.accepts_token

    def gullible(ring: RingContext, token: Token) -> str | None:
        problem = accepts(ring, token)
        return None if problem == "token.repeated" else problem

    everywhere(stack, accepts, gullible)


def _holes_skipped(stack: ExitStack) -> None:
    def impatient(ring: RingContext) -> None:
        installed = ring.installed
        for frame in installed.store.above(installed.delivered):
            delivery._deliver_frame(ring, frame, transitional=False)
            installed.delivered = frame.seq

    everywhere(stack, delivery.deliver_available, impatient)


def _application_lane_open(stack: ExitStack) -> None:
    install = delivery.install

    def hasty(ring: RingContext, now: float) -> None:
        install(ring, now)
        ring.installed.synchronised = True

    everywhere(stack, install, hasty)


def _strangers_survive(stack: ExitStack) -> None:
    enter_recovery = recovery.enter_recovery

    def generous(ring: RingContext, token: CommitToken, now: float) -> None:
        enter_recovery(ring, token, now)
        assert ring.recovery is not None
        ring.recovery.survivors = tuple(node for node in token.members if node in ring.installed.members)

    everywhere(stack, enter_recovery, generous)


def _cut_message_goes_on(stack: ExitStack) -> None:
    def keep_offset(outbox: Outbox) -> None:
        outbox._queues[Lane.SYNC].clear()
        outbox._bytes[Lane.SYNC] = 0

    stack.enter_context(patch.object(Outbox, "new_ring", keep_offset))


def _requests_ignored(stack: ExitStack) -> None:
    everywhere(stack, ordering._retransmit, lambda ring, wanted, budget: (wanted, 0))


def _install_without_everybody(stack: ExitStack) -> None:
    stack.enter_context(patch.object(recovery, "ROTATIONS_BEFORE_INSTALL", 0))


def _merge_detect_missing(stack: ExitStack) -> None:
    for state in (RingState.OPERATIONAL, RingState.GATHER):
        stack.enter_context(patch.dict(reactions.REACTIONS, {(state, MergeDetect): reactions.drop}))


MUTANTS = (
    Mutant("not_merged", "recovered messages do not reach the old ring's store", 5, _not_merged),
    Mutant("forgotten_on_failure", "what an interrupted recovery brought is lost", 200, _forgotten_on_failure),
    Mutant("safe_after_one_visit", "SAFE delivered on the aru of one visit", 10, _safe_after_one_visit),
    Mutant("no_safe_stop", "no stop at a SAFE message when the old configuration is closed", 10, _no_safe_stop),
    Mutant("cut_by_own_mark", "the cut is at our own high_delivered, not at the highest", 10, _cut_by_own_mark),
    Mutant("everything_behind_holes", "messages behind a hole delivered from everybody", 40, _everything_behind_holes),
    Mutant("nothing_behind_holes", "messages behind a hole delivered from nobody", 40, _nothing_behind_holes),
    Mutant("freed_after_one_visit", "messages freed on the aru of one visit", 200, _freed_after_one_visit),
    Mutant("not_frozen", "late messages of the old ring accepted in commit and recovery", 600, _not_frozen),
    Mutant("obligations_ignored", "obligations of an interrupted recovery are not kept", 300, _obligations_ignored),
    Mutant("one_quiet_visit", "installed after one quiet visit instead of two", 300, _one_quiet_visit),
    Mutant("disk_wiped", "the ring sequence is lost in a crash", 5, _disk_wiped),
    Mutant("not_persisted", "the ring sequence is never made durable", 5, _not_persisted),
    Mutant("repeated_tokens_count", "a repeated token is visited again", 10, _repeated_tokens_count),
    Mutant("holes_skipped", "delivery does not wait for missing messages", 10, _holes_skipped),
    Mutant("application_lane_open", "applications do not wait for the state exchange", 5, _application_lane_open),
    Mutant("strangers_survive", "a restarted member counts as a survivor", 20, _strangers_survive),
    Mutant("cut_message_goes_on", "a message cut by a change is continued, not sent again", 20, _cut_message_goes_on),
    Mutant("requests_ignored", "nobody retransmits", 10, _requests_ignored),
    Mutant(
        "install_at_once", "installed without waiting for everybody's acknowledgement", 100, _install_without_everybody
    ),
    Mutant("rings_do_not_merge", "merge detects are ignored", 20, _merge_detect_missing),
)
"""With the number of seeds that suffices about three times over."""
