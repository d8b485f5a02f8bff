"""Everything a ring's core knows, grouped by how long it lives (docs/totem.md §1.3).

`Boot` lives as long as the process, `Installed` until the next ring is installed (it survives failed attempts),
`Episode` from leaving OPERATIONAL to the next install, `Rotation` from entering COMMIT on, `Recovery` for one attempt.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from ....ipc.ids import RingId
from ..wire.packets import NOBODY, AnyPacket, CommitToken, Join, Mcast, Token
from .adaptation import FrameSize, Repeats, Requests
from .assembly import Assembler
from .backoff import MergeBackoff
from .earshot import Earshot
from .effects import Effect, Fact, Level, Multicast, Persist, Scope, Unicast
from .flow import FlowAccount, units
from .outbox import Outbox
from .parameters import RingParameters
from .rhythm import Rhythm
from .store import FrameStore
from .timers import Timer, Timers

RING_SEQUENCE_STEP: Final = 4
"""New rings are this much higher than every ring heard of, as in corosync."""

RELAPSE_TIMEOUTS: Final = 20
"""Token timeouts for which a member that failed to receive must be well before that is forgotten: twice as long as it
may take to notice."""


class RingState(enum.StrEnum):
    """The four states of the membership protocol."""

    OPERATIONAL = "operational"
    GATHER = "gather"
    COMMIT = "commit"
    RECOVERY = "recovery"


class GatherReason(enum.StrEnum):
    """Why a new membership is being looked for."""

    BOOT = "boot"
    TOKEN_LOST = "token lost"
    TOKEN_LOST_WAITING = "token lost while waiting for the commit token"
    TOKEN_LOST_COMMIT = "token lost in commit"
    TOKEN_LOST_RECOVERY = "token lost in recovery"
    HEARTBEAT_LOST = "rotation missed"
    CONSENSUS_TIMEOUT = "consensus timeout"
    JOIN = "join"
    JOIN_IN_COMMIT = "join while committing"
    JOIN_IN_RECOVERY = "join while recovering"
    LEAVE = "leave"
    FOREIGN = "message of a foreign ring"
    MERGE = "another ring was heard"
    FAILED_TO_RECEIVE = "a member fails to receive"
    SUSPECT = "the token does not get past a member"
    REQUEST = "asked for"
    PROCESS_ENDED = "a member's process has ended"
    NODE_REMOVED = "a member was taken out of the node list"
    PROCESS_GONE = "a member's port is closed and nobody answers"


@dataclass(slots=True)
class Installed:
    """The ring whose regular configuration was delivered last."""

    ring: RingId
    members: tuple[int, ...]
    store: FrameStore
    delivered: int = 0
    """Paper: my_high_delivered."""
    obliged: bool = False
    """Agarwal: my_received_flg.  Somebody may have delivered relying on what we acknowledged in recovery."""
    obligations: tuple[int, ...] = ()
    """Paper: my_deliver_memb.  Whose messages behind a hole must be delivered in the transitional configuration."""
    synchronised: bool = False
    """The services have exchanged their state: the application lane is open."""


@dataclass(slots=True)
class Episode:
    """One search for a membership: both sets only grow until a ring is installed."""

    candidates: tuple[int, ...]
    """Paper: my_proc_set."""
    failed: tuple[int, ...] = ()
    """Paper: my_fail_set.  Never holds this node."""
    joins: dict[int, Join] = field(default_factory=dict)
    """The last join of every sender; those equal to our sets are consensus."""
    leavers: tuple[int, ...] = ()
    """Who said that it leaves."""
    deaf: frozenset[int] = frozenset()
    """Who got the token but not the messages before it; kept away for a while if excluded."""
    tried: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    """The sets of the last consensus."""
    attempt_lost: bool = False
    """The attempt on `tried` ended because its token was lost."""
    rotations: int = 0
    """Tokens forwarded since the last consensus."""
    began: float = 0.0
    rounds: int = 0
    reason: GatherReason = GatherReason.BOOT
    waiting: bool = False
    """Consensus is reached and the representative's commit token is awaited."""

    @property
    def proposed(self) -> tuple[int, ...]:
        """Who would form the next ring."""
        return tuple(each for each in self.candidates if each not in self.failed)


@dataclass(slots=True)
class Rotation:
    """The circulation of the token on the current (installed or attempted) ring."""

    members: tuple[int, ...]
    target: int
    """The next member in ring order, fixed for the ring's life."""
    flow: FlowAccount
    hop: int = -1
    """Hop number of the last accepted token."""
    highest: int | None = None
    """Paper: my_last_seq.  `Token.highest` at the last visit."""
    unchanged_visits: int = 0
    held: bool = False
    """The token of an idle ring rests somewhere, or is about to."""
    holding: bool = False
    """The token is here right now: it rests here, or this node keeps it."""
    kept_until: float | None = None
    """Until when this node may keep the token to send more with it; None while it does not."""
    kept_elsewhere: bool = False
    """Another member, who sent last, keeps the token for a moment."""
    keeper: bool = False
    """At the last visit it was here that the token of an idle ring would rest."""
    complete: bool = False
    """At the last visit every member had everything, as far as the token told."""
    originated: int = 0
    """Highest number that this node has given."""
    forwarded: int = 0
    """Paper: my_last_aru.  `Token.received_by_all` as forwarded at the last visit."""
    safe: int = 0
    """Highest number known to be received by every member: `forwarded` at two visits in a row."""
    standstill_visits: int = 0
    """Visits in a row at which `received_by_all` did not move while somebody lags."""
    standstill_since: float = 0.0
    standstill_seconds: float = 0.0
    """How long that had lasted at the last visit."""
    laggard: int = NOBODY
    """Who held it back then."""
    repeats: Repeats = field(default_factory=Repeats)
    requests: Requests = field(default_factory=Requests)
    rhythm: Rhythm = field(default_factory=Rhythm)
    waking: bool = False
    """This node has asked for the held token, and it has not come yet."""
    last_sent: Token | CommitToken | None = None
    """What the retransmit timer sends again."""


@dataclass(slots=True)
class Recovery:
    """One attempt to bring the old ring's messages into the new one."""

    store: FrameStore
    queue: dict[int, Mcast]
    """Old-ring frames that this node re-broadcasts, by their old numbers, ascending."""
    survivors: tuple[int, ...]
    """Paper: my_trans_memb."""
    delivered: int
    """Paper: my_high_ring_delivered.  Everything up to here was delivered by somebody in the old configuration."""
    flag_is_mine: bool = False
    """Paper: my_set_retrans_flg."""
    quiet_visits: int = 0
    """Paper: my_retrans_flg_count.  Visits in a row with nothing left to re-broadcast anywhere."""
    install_seq: int | None = None
    rotations: int = 0
    """Paper: my_rotation_counter.  Visits in a row at which everybody had everything up to `install_seq`."""
    token_created: bool = False


@dataclass(slots=True)
class Suspect:
    """A node whose port was reported closed, and which has not been heard since."""

    probes: int
    due: float
    """When the next probe, or the verdict, is due."""


SELF_TOKEN_PACE: Final = 0.001
"""Seconds that a token of a ring of one takes to come round when there is nothing to do."""


def backoff_constants(parameters: RingParameters) -> tuple[float, float, float, float]:
    """What `MergeBackoff` is made of."""
    token = parameters.token
    longest = parameters.merge_backoff_max or 16 * token
    return 2 * token, longest, RELAPSE_TIMEOUTS * token, token + parameters.consensus


class RingContext:
    """The core's state and its few primitive actions; the rules live in the modules beside it."""

    def __init__(self, parameters: RingParameters, boot_sequence: int, jitter: Callable[[], float]) -> None:
        self.parameters = parameters
        self.me = parameters.node_id
        self.jitter = jitter
        self.state = RingState.GATHER
        self.ring = RingId(boot_sequence, self.me)
        """The ring of the last accepted commit token, installed or attempted.  Never goes back."""
        self.highest_ring_sequence = boot_sequence
        """Highest ring sequence heard of; the next ring is four higher."""
        self.durable_sequence = 0
        """The highest that was stored, or is on its way there."""
        self.timers = Timers()
        self.outbox = Outbox(boot_sequence)
        self.frame_datagrams_max = units(parameters.frame_bytes, parameters.datagram_bytes)
        self.frame_size = FrameSize(self.frame_datagrams_max)
        self.assembler = Assembler(parameters.submission_bytes_max)
        self.installed = Installed(self.ring, (self.me,), FrameStore(parameters.store_frames_max))
        self.episode = Episode((self.me,))
        self.rotation = self.new_rotation((self.me,))
        self.recovery: Recovery | None = None
        self.backoff = MergeBackoff(*backoff_constants(parameters))
        self.earshot = Earshot(parameters.token, parameters.merge)
        self.effects: list[Effect] = []
        self.loopback: deque[Token | CommitToken] = deque()
        """Tokens of a ring of one, on their way to ourselves."""
        self.counters: Counter[str] = Counter()
        self.suspects: dict[int, Suspect] = {}
        self.unsuspicious_until: dict[int, float] = {}
        """Nodes that were heard while they were suspects, and until when reports about them are ignored."""
        self.flushing = False
        """The process was paused: what lies in the sockets is old."""
        self.left = False
        self.other_options: dict[int, int] = {}
        """Nodes whose options differ from ours, with the digest for which that was said."""
        self.last_join_sent = float("-inf")

    def next_sequence(self) -> int:
        """That of the next ring, as far as is known here."""
        return max(self.highest_ring_sequence, self.ring.sequence) + RING_SEQUENCE_STEP

    def make_durable(self, sequence: int) -> None:
        """From here on this node may speak of a ring of this sequence: a later boot must not use it again."""
        if sequence > self.durable_sequence:
            self.durable_sequence = sequence
            self.emit(Persist(sequence))

    def reconfigure(self, parameters: RingParameters) -> None:
        """Other constants; the identity and what the others count in or rely on stay as they were at boot."""
        self.parameters = replace(
            parameters,
            node_id=self.me,
            datagram_bytes=self.parameters.datagram_bytes,
            store_frames_max=self.parameters.store_frames_max,
        )
        self.frame_datagrams_max = units(parameters.frame_bytes, self.parameters.datagram_bytes)
        self.frame_size.most = self.frame_datagrams_max
        self.earshot.reconfigure(parameters.token, parameters.merge)
        self.backoff.reconfigure(*backoff_constants(parameters))
        if not parameters.heartbeat:
            self.timers.cancel(Timer.HEARTBEAT)
        if not parameters.token_warning:
            self.timers.cancel(Timer.LOSS_WARNING)
        flow = self.rotation.flow
        flow.window_min, flow.per_visit_min = parameters.window_size, parameters.max_messages
        flow.growth_max, flow.growth = parameters.window_growth, 1.0

    def new_rotation(self, members: tuple[int, ...]) -> Rotation:
        """Fresh per-ring variables; the target is our successor in ring order."""
        successor = members[(members.index(self.me) + 1) % len(members)]
        parameters = self.parameters
        flow = FlowAccount(parameters.window_size, parameters.max_messages, parameters.window_growth)
        return Rotation(members, successor, flow)

    @property
    def store(self) -> FrameStore:
        """The store that the current ring's numbers refer to."""
        return self.recovery.store if self.recovery is not None else self.installed.store

    @property
    def is_representative(self) -> bool:
        """Whether this node has the lowest id of the current ring."""
        return self.rotation.members[0] == self.me

    @property
    def keeps_token(self) -> bool:
        """Whether the token of an idle ring rests here: with who sent last, and may send more at once."""
        rotation = self.rotation
        return rotation.originated == rotation.highest if rotation.highest else self.is_representative

    def emit(self, effect: Effect) -> None:
        """Append an effect."""
        self.effects.append(effect)

    def fact(self, event: str, level: Level, **fields: object) -> None:
        """Tell the shell something worth logging."""
        self.effects.append(Fact(event, level, tuple(fields.items())))

    def count(self, name: str) -> None:
        """Count something; also how tests see which rows of the tables were taken."""
        self.counters[name] += 1

    def multicast_ring(self, packet: AnyPacket, *, repeated: bool = False) -> None:
        """Send to the members of the current ring; nobody if we are alone."""
        if len(self.rotation.members) > 1:
            self.effects.append(Multicast(packet, Scope.RING, self.rotation.members, repeated))

    def send_token(self, token: Token | CommitToken, now: float) -> None:
        """Send to our successor and remember for retransmission; a ring of one gets it through a timer."""
        self.rotation.last_sent = token
        self.episode.rotations += 1
        self.rotation.rhythm.passed(now)
        self._put_on_wire(token, now)
        self.arm_repetition(now)

    def resend_token(self, now: float) -> None:
        """Send the last token once more, unchanged."""
        if self.rotation.last_sent is not None:
            self.count("token.resent")
            self.rotation.rhythm.repeated(now)
            self._put_on_wire(self.rotation.last_sent, now)
        self.arm_repetition(now)

    def arm_repetition(self, now: float) -> None:
        """Send the last token again when the next one should have come: soon, unless another member holds it."""
        longest = self.parameters.token_retransmit
        held = self.rotation.held and not self.rotation.keeper
        self.timers.arm(Timer.RETRANSMIT, now + (longest if held else self.rotation.rhythm.patience(longest)))

    def _put_on_wire(self, token: Token | CommitToken, now: float) -> None:
        if self.rotation.target == self.me:
            if token not in self.loopback:
                self.loopback.append(token)
            pace = SELF_TOKEN_PACE if self.rotation.unchanged_visits else 0.0
            self.timers.arm(Timer.LOOPBACK, now + pace)
        else:
            self.effects.append(Unicast(self.rotation.target, token))

    @property
    def receivers(self) -> int:
        """Members of the current ring that a multicast has to reach."""
        return len(self.rotation.members) - 1

    def frame_bytes(self) -> int:
        """How long the next frame may be: `RingParameters.frame_bytes`, less where datagrams are lost."""
        parameters = self.parameters
        most = self.frame_datagrams_max
        fewer = most - self.frame_size.datagrams(self.receivers)
        return max(parameters.frame_bytes - fewer * parameters.datagram_bytes, parameters.frame_bytes // most)

    def arm_token_timers(self, now: float) -> None:
        """A new token has been accepted: the ring is alive."""
        parameters, timers = self.parameters, self.timers
        timers.arm(Timer.LOSS, now + parameters.token)
        if parameters.token_warning:
            timers.arm(Timer.LOSS_WARNING, now + parameters.token_warning)
