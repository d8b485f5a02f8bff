"""One processor's view of a Totem ring: packets, submissions and time in, effects out.

No socket, clock, randomness or logging.  It implements the membership protocol (gather, commit, recovery), the total
order with agreed and safe delivery, and extended virtual synchrony; the rules are in the modules beside this one:

    reactions   what each state does with each packet and timer (the table)
    membership  gather and commit         recovery   old messages into the new ring
    ordering    the token visit           keeping    where the token stays for a while
    origination what is sent with it      delivery   agreed, safe, and the install
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ....ipc.ids import RingId
from ..wire.packets import AnyPacket, Join, Mcast, MergeDetect
from .context import GatherReason, RingContext, RingState
from .effects import Effect, Level, Multicast, RegularConfiguration, Scope
from .keeping import wake_ring
from .membership import compare_options, enter_gather
from .parameters import RingParameters
from .reactions import REACTIONS, TIMER_REACTIONS
from .submission import Submission
from .suspicion import heard, listen_again, node_removed, port_closed, process_ended, start_knocking
from .timers import LASTING, Timer

EXPIRIES_PER_CALL_MAX = 1000
"""Timers handled in one `expire`; more means that a rule re-arms a timer in the past, which is a bug."""


class Ring:
    """The sans-I/O core.  Drive it with `receive`, `submit`, `expire`; carry out what `take_effects` returns, in order.

    All times are seconds of one monotonic clock.  The contract with the shell (order of effects, durable ring sequence,
    data before tokens) is in `effects` and in docs/architecture.md.
    """

    def __init__(self, parameters: RingParameters, boot_sequence: int, jitter: Callable[[], float]) -> None:
        """*boot_sequence* is one more than the durable ring sequence; *jitter* returns numbers in [0, 1)."""
        self._context = RingContext(parameters, boot_sequence, jitter)

    @property
    def state(self) -> RingState:
        """Where the membership protocol stands."""
        return self._context.state

    @property
    def ring(self) -> RingId:
        """The installed or attempted ring."""
        return self._context.ring

    @property
    def installed(self) -> RingId:
        """The ring whose regular configuration was delivered last."""
        return self._context.installed.ring

    @property
    def members(self) -> tuple[int, ...]:
        """Members of the installed ring, ascending."""
        return self._context.installed.members

    @property
    def synchronised(self) -> bool:
        """Whether application messages may be originated on the installed ring."""
        return self._context.installed.synchronised

    @property
    def backlog_bytes(self) -> int:
        """Submitted bytes that have no place in the order yet."""
        return self._context.outbox.waiting_bytes

    @property
    def quiet(self) -> bool:
        """Whether everything submitted here was originated, and every message of the ring is known to be everywhere."""
        context = self._context
        return not context.outbox.waiting_bytes and (
            context.state is RingState.OPERATIONAL
            and context.rotation.safe >= max(context.installed.store.highest, context.installed.delivered)
        )

    @property
    def counters(self) -> Counter[str]:
        """How often each thing happened; names are stable within a release."""
        return self._context.counters

    @property
    def rotation_seconds(self) -> float:
        """Smoothed time of a rotation in which nobody holds the token; 0 until one was measured."""
        return self._context.rotation.rhythm.mean

    @property
    def frame_datagrams(self) -> int:
        """Datagrams that a frame of this node may take at present."""
        return self._context.frame_size.datagrams(self._context.receivers)

    @property
    def stored_frames(self) -> int:
        """Frames kept for delivery or retransmission."""
        context = self._context
        return len(context.installed.store) + (len(context.recovery.store) if context.recovery else 0)

    def start(self, now: float) -> None:
        """Boot: a configuration of this node alone, and at once the search for others."""
        context = self._context
        context.make_durable(context.ring.sequence)
        context.emit(RegularConfiguration(context.ring, (context.me,), (), (context.me,)))
        context.episode.began = now
        start_knocking(context, now)
        enter_gather(context, GatherReason.BOOT, now)

    def receive(self, packet: AnyPacket, sender: int, now: float) -> None:
        """A packet arrived.  Hand in every packet that is already readable before a token."""
        context = self._context
        if context.suspects:
            heard(context, sender, now)
        if sender == context.me or context.left:
            context.count("drop.own")
        elif context.flushing and self._is_old_news(packet):
            context.count("drop.flushed")
        else:
            if isinstance(packet, Join):
                compare_options(context, packet, sender)
            REACTIONS[context.state, type(packet)](context, packet, sender, now)
        context.earshot.heard[sender] = now

    def submit(self, submission: Submission, now: float) -> int:
        """Queue a message for the ring; returns its number among this node's submissions since boot."""
        number = self._context.outbox.add(submission)
        wake_ring(self._context, now)
        return number

    def services_synchronised(self, now: float) -> None:
        """The services have exchanged their state on the installed ring: application messages may flow."""
        self._context.installed.synchronised = True
        wake_ring(self._context, now)

    def expire(self, now: float) -> None:
        """Handle every timer that is due by *now*."""
        for _ in range(EXPIRIES_PER_CALL_MAX):
            timer = self._context.timers.take_due(now)
            if timer is None:
                return
            TIMER_REACTIONS[timer](self._context, now)

    def next_deadline(self) -> float | None:
        """When `expire` has to be called next."""
        return self._context.timers.next_deadline()

    def pause_detected(self, now: float) -> None:
        """This process did not run for a while: until `backlog_drained`, joins and foreign packets are old news.

        Answering them would poison the other nodes' sets with a past that is over for them.
        """
        context = self._context
        context.flushing = True
        context.suspects.clear()
        context.timers.cancel(Timer.PROBE)

    def backlog_drained(self, now: float) -> None:
        """Everything that had piled up during the pause was handed in.  Nobody is accused before it could be heard."""
        self._context.flushing = False
        listen_again(self._context, now)

    def process_ended(self, node: int, now: float) -> None:
        """*node*'s process, as it was known here, has ended: proven by its obituary."""
        process_ended(self._context, node, now)

    def node_removed(self, node: int, now: float) -> None:
        """*node* is not in the node list any more; to be told while it can still be sent to, so that it knows."""
        node_removed(self._context, node, now)

    def port_closed(self, node: int, now: float) -> None:
        """The network says that nobody listens at *node*'s address.  A hint: the node is asked, nothing else."""
        port_closed(self._context, node, now)

    def reconfigure(self, parameters: RingParameters) -> None:
        """Use other constants from now on; timers that run keep their deadlines."""
        self._context.reconfigure(parameters)

    def gather(self, now: float) -> None:
        """Look for a new membership now (administrator's request)."""
        if self._context.state is RingState.OPERATIONAL and not self._context.left:
            enter_gather(self._context, GatherReason.REQUEST, now)

    def leave(self, now: float) -> None:
        """Say goodbye to everybody and fall silent."""
        context = self._context
        if context.left:
            return
        context.left = True
        context.timers.cancel_all()
        context.timers.cancel(*LASTING)
        candidates = tuple(node for node in context.episode.candidates if node != context.me)
        failed = tuple(sorted({*context.episode.failed, context.me}))
        goodbye = Join(candidates, failed, context.ring.sequence, 0, True, context.parameters.options_digest)
        context.emit(Multicast(goodbye, Scope.ALL))
        context.fact("ring.leave", Level.NOTICE, ring=str(context.ring))

    def take_effects(self) -> list[Effect]:
        """What is to be done now, in this order."""
        effects, self._context.effects = self._context.effects, []
        return effects

    def _is_old_news(self, packet: AnyPacket) -> bool:
        if isinstance(packet, Mcast):
            return packet.ring not in (self._context.ring, self._context.installed.ring)
        return isinstance(packet, (Join, MergeDetect))
