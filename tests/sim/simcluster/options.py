"""Everything about a run that is not an event: derived from the seed, printed with every failure.

About half of the values are ordinary, the other half chosen to make rare internal paths likely (a window of one, a
retransmission list of one entry, frames so small that every message is cut).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace

from simcluster.chance import Chance
from totemd.executive.totem.core.parameters import RingParameters

NODES_LOW, NODES_HIGH = 3, 5
NODES_MAX = 64
"""Nodes of one run: twice what is ever drawn; what a run takes grows with their square, and more."""

TOKEN = 0.4
"""Token timeout in seconds; the others follow from it as in a real configuration (docs/totem.md §3)."""
CONSENSUS = 1.2 * TOKEN
RETRANSMIT = TOKEN / 4.2
HOLD = 0.8 * RETRANSMIT - 0.010
JOIN = 0.050
MERGE = 0.200
KNOCK = TOKEN / 10

GROUP_SHARE = 0.4
"""Share of the runs that have the real services and clients on top of the ring."""

FAULT_SECONDS_LOW, FAULT_SECONDS_HIGH = 3.0, 11.0
MANY, MANY_SECONDS_HIGH = 8, 5.0
"""With more nodes than so many, faults end sooner."""
ROTATIONS_OF_A_TIMEOUT = 4
"""With more nodes than so many the token timeout is at least so many rotations, as `token_coefficient` sees to it."""

DIVIDED_SHARE = 0.15
"""Share of the runs in which the network is never whole again."""

ENDURED_BOUNDS = 3
"""So many convergence bounds long a run of the profile about that has one-way links, and nothing else that is wrong."""

NODES_OF = {"large": (6, 16), "nightly": (17, 32)}
"""How many nodes a profile has that is about that."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What the network does to every packet, faults apart."""

    latency: float
    """Seconds from any node to any other, at least."""
    jitter: float
    """Up to this much more, uniformly."""
    loss: float
    """Share of packets lost on a good link."""
    data_loss: float
    """Share of multicasts lost besides: the ring stands while holes abound."""
    bad_link_loss: float
    """Share lost on a bad one."""
    bad_links: float
    """Share of the links (one direction each) that are bad."""
    bursts: float
    """Share of the time slices in which a link loses half of everything."""
    duplicates: float
    duplicate_delay: float
    """Duplicates arrive up to this much later."""
    tail: float
    """Share of packets with a heavy-tailed delay."""
    tail_delay: float
    """Longest such delay."""
    data_lag: float
    """Up to this much more for multicasts: data behind the token."""
    token_lag: float
    """Up to this much more for tokens."""
    corruption: float = 0.0
    """Share of packets that arrive with flipped bits."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the applications submit."""

    pause: float
    """Mean seconds between two bursts of one node."""
    burst: int
    """Most messages at once."""
    senders: str
    """`all`, `one` or `none`."""
    bytes_max: int
    safe: float
    """Share of SAFE messages."""
    messages_max: int
    """Messages that one node submits in the whole run."""


@dataclass(frozen=True, slots=True)
class GroupOptions:
    """What runs on each node besides the ring, in runs with process groups."""

    clients: int
    groups: int
    joins: float
    """Chance that a client that starts joins a group at once."""
    latency_low: float
    latency_high: float
    """Seconds that a message takes from one process of a node to another."""
    service_credit: int
    """Bytes that cpg may have on the way to the ring."""
    client_credit: int
    """What a client's batches on the way may cost."""
    unread_max: int
    """Bytes that a client may leave unread."""
    actions: float
    """Joins, leaves and faults of local processes in a second, all nodes together."""

    def names(self) -> tuple[str, ...]:
        """The groups."""
        return tuple(f"g{number}" for number in range(self.groups))


@dataclass(frozen=True, slots=True)
class Endings:
    """What becomes known of processes that ended (see `simcluster.endings`)."""

    obituaries: float = 0.0
    """Share of the deaths that the executive tells."""
    reports: float = 0.0
    """Share of the datagrams to a closed port that are reported."""
    late: float = 0.0
    """Share of both that comes late."""
    forged: int = 0
    """Times at which reports are made up."""


@dataclass(frozen=True, slots=True)
class Options:
    """The whole option set of one run."""

    seed: int
    profile: str
    nodes: int
    fault_seconds: float
    divided: bool
    """The faults end with a network in pieces for good: each of them must come to rest by itself."""
    stormy: bool
    """Faults come 15 to 100 ms apart, so that they hit recoveries from earlier ones."""
    start_spread: float
    """The nodes boot within this time."""
    clock_rate: float
    """Clocks run up to this share faster or slower."""
    wake_delay: float
    """A node looks into its inbox this long after the first packet came."""
    inbox_max: int
    """Packets that a paused node's sockets keep."""
    service_delay: float
    """Services react to a ring up to this much later."""
    exchange: str
    """Their state exchange: `agreed`, `safe` (so that it can complete in a transitional configuration), `none`: there
    is no state, and applications need not wait for anything; or `cpg`: the real services, with clients."""
    wire: str
    """How packets travel: `objects`, `codec`, `sealed` or `unsealed` (see `simcluster.wire`)."""
    weather: Weather
    load: Load
    groups: GroupOptions | None
    """With `cpg` only."""
    ring: RingParameters
    """With node id 1; each node gets its own."""
    endings: Endings = Endings()

    @property
    def convergence_bound(self) -> float:
        """One ring of all nodes this long after the last fault, at the latest."""
        ring = self.ring
        return 4 * (ring.token + ring.consensus) + 2 * ring.merge + ring.hold + self.backoff_max

    @property
    def backoff_max(self) -> float:
        """The longest merge back-off."""
        return self.ring.merge_backoff_max or 16 * self.ring.token

    @property
    def lopsided_from(self) -> float:
        """From when on links are one-way, in a run of the profile about that, until the faults end."""
        return self.fault_seconds - ENDURED_BOUNDS * self.convergence_bound

    @property
    def rotation(self) -> float:
        """Seconds that the token may take round, if it is not lost or kept."""
        return self.nodes * (self.weather.latency + self.weather.jitter + self.wake_delay)

    def lines(self) -> list[str]:
        """One line per group of options, for people."""
        flat = [_assignment(self, each.name) for each in fields(self) if not is_dataclass(getattr(self, each.name))]
        groups = [
            f"{name}: " + " ".join(_assignment(group, each.name) for each in fields(group))
            for name, group in (
                ("weather", self.weather),
                ("load", self.load),
                ("groups", self.groups),
                ("endings", self.endings),
                ("ring", self.ring),
            )
            if group is not None
        ]
        return ["run: " + " ".join(flat), *groups]


def _assignment(group: object, name: str) -> str:
    value = getattr(group, name)
    return f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"


PROFILES = ("mixed", "calm", "loss", "crash", "partition", "pause", "sealed", "groups", "disk", "large", "nightly",
            "one-way")  # fmt: skip
"""`mixed` has every fault; the others only their own kind (`calm` none) and, but for `loss`, a perfect network."""


ONE_WAY = "one-way"
"""The profile that ends with links that carry one direction only; see `lopsided`."""

ROUGH = ("mixed", "sealed", "groups", "large", "nightly")
"""Those with everything."""


def derive(seed: int, profile: str = "mixed", nodes: tuple[int, int] = (NODES_LOW, NODES_HIGH)) -> Options:
    """The options of a seed.  *nodes*: how many; the usual numbers stand for those of the profile."""
    chance = Chance(seed, "options")
    if nodes == (NODES_LOW, NODES_HIGH):
        nodes = NODES_OF.get(profile, nodes)
    groups = _groups(Chance(seed, "groups"), profile)
    options = Options(
        seed=seed,
        profile=profile,
        nodes=chance.integer(*nodes),
        fault_seconds=chance.between(FAULT_SECONDS_LOW, FAULT_SECONDS_HIGH if nodes[1] <= MANY else MANY_SECONDS_HIGH),
        divided=profile in ROUGH and Chance(seed, "divided").happens(DIVIDED_SHARE),
        stormy=chance.happens(0.5),
        start_spread=chance.choice((0.0, 0.001, 0.05, 1.0)),
        clock_rate=chance.choice((0.0, 0.0, 0.01)),
        wake_delay=chance.choice((0.0, 0.0, 0.0005, 0.002)),
        inbox_max=chance.choice((16, 1_000, 1_000)),
        service_delay=chance.choice((0.0, 0.0, 0.001, 0.02)),
        exchange=chance.weighted(((4, "agreed"), (2, "safe"), (4, "none"))) if groups is None else "cpg",
        wire=_wire(Chance(seed, "wire"), profile),
        weather=_weather(Chance(seed, "weather"), profile),
        load=_load(Chance(seed, "load")),
        groups=groups,
        ring=replace(_ring(Chance(seed, "ring")), knock=Chance(seed, "knock").choice((0.0, 0.0, KNOCK))),
        endings=_endings(Chance(seed, "endings"), profile),
    )
    if profile == ONE_WAY:
        options = replace(options, fault_seconds=options.fault_seconds + ENDURED_BOUNDS * options.convergence_bound)
    return options if options.nodes <= MANY else replace(options, ring=_patient(options.ring, options.rotation))


def _patient(ring: RingParameters, rotation: float) -> RingParameters:
    """The same with timeouts that suit many nodes."""
    return scaled(ring, max(1.0, ROTATIONS_OF_A_TIMEOUT * rotation / ring.token))


def scaled(ring: RingParameters, factor: float) -> RingParameters:
    """The same with other timeouts, as another `token` would make them."""
    return replace(
        ring,
        token=factor * ring.token,
        token_retransmit=factor * ring.token_retransmit,
        hold=factor * ring.hold,
        consensus=factor * ring.consensus,
        token_warning=factor * ring.token_warning,
        heartbeat=factor * ring.heartbeat,
        merge_backoff_max=factor * ring.merge_backoff_max,
    )


def _endings(chance: Chance, profile: str) -> Endings:
    if profile == "calm" or not chance.happens(0.5):
        return Endings()
    return Endings(
        obituaries=chance.choice((0.0, 0.5, 1.0)),
        reports=chance.choice((0.0, 0.3, 1.0)),
        late=chance.choice((0.0, 0.0, 0.3)),
        forged=chance.choice((0, 0, 3, 10)),
    )


def _wire(chance: Chance, profile: str) -> str:
    shares = ((4, "objects"), (2, "codec"), (3, "sealed"), (1, "unsealed"))
    return chance.weighted(shares[2:] if profile == "sealed" else shares)


def _groups(chance: Chance, profile: str) -> GroupOptions | None:
    if profile not in ROUGH or (not chance.happens(GROUP_SHARE) and profile != "groups"):
        return None
    latency = chance.choice((0.0, 0.0002, 0.002, 0.03))
    return GroupOptions(
        clients=chance.choice((1, 2, 3)),
        groups=chance.choice((1, 2)),
        joins=chance.choice((0.5, 1.0)),
        latency_low=latency / 4,
        latency_high=latency,
        service_credit=chance.choice((2_000, 6_000, 8 * 1024 * 1024)),
        client_credit=chance.choice((7_000, 20_000, 4 * 1024 * 1024)),
        unread_max=chance.choice((15_000, 64 * 1024 * 1024)),
        actions=chance.choice((0.5, 2.0, 8.0)),
    )


def _weather(chance: Chance, profile: str) -> Weather:
    rough = profile in {*ROUGH, "loss"} and chance.happens(0.75)
    return Weather(
        latency=chance.spread(0.0005, 0.012),
        jitter=chance.spread(0.0001, 0.006),
        loss=chance.choice((0.0, 0.02, 0.05, 0.15)) if rough else 0.0,
        data_loss=chance.choice((0.0, 0.0, 0.1, 0.3)) if rough else 0.0,
        bad_link_loss=chance.choice((0.1, 0.3)) if rough else 0.0,
        bad_links=chance.choice((0.0, 0.0, 0.1, 0.3)) if rough else 0.0,
        bursts=chance.choice((0.0, 0.02, 0.1)) if rough else 0.0,
        duplicates=chance.choice((0.0, 0.01, 0.05)) if rough else 0.0,
        duplicate_delay=chance.spread(0.002, 3 * TOKEN),
        tail=chance.choice((0.0, 0.002, 0.02)) if rough else 0.0,
        tail_delay=chance.spread(0.02, 2 * TOKEN),
        data_lag=chance.choice((0.0, 0.0, 0.01, 0.06)) if rough else 0.0,
        token_lag=chance.choice((0.0, 0.0, 0.004)) if rough else 0.0,
        corruption=chance.choice((0.0, 0.0, 0.002, 0.02)) if rough else 0.0,
    )


def _load(chance: Chance) -> Load:
    burst = chance.choice((1, 3, 20))
    return Load(
        pause=chance.spread(0.05, 0.5) * (1 + burst / 10),
        burst=burst,
        senders=chance.weighted(((8, "all"), (1.5, "one"), (0.3, "none"))),
        bytes_max=chance.choice((1, 60, 300, 3_000)),
        safe=chance.choice((0.0, 0.1, 0.3, 0.5, 0.7, 1.0)),
        messages_max=300,
    )


def _ring(chance: Chance) -> RingParameters:
    window = chance.choice((1, 3, 10, 50, 50))
    per_visit = chance.choice((1, 5, 17))
    frame = chance.choice((100, 150, 400, 1_400))
    return RingParameters(
        node_id=1,
        token=TOKEN,
        token_retransmit=RETRANSMIT,
        hold=HOLD,
        join=JOIN,
        consensus=CONSENSUS,
        merge=MERGE,
        send_join=chance.choice((0.0, 0.0, 0.02)),
        token_warning=chance.choice((0.0, 0.75 * TOKEN)),
        heartbeat=chance.choice((0.0, 0.0, 0.0, 0.85 * TOKEN)),
        fail_recv_const=chance.choice((30, 300, 2_500)),
        seqno_unchanged_const=chance.choice((2, 6, 15)),
        miss_count_const=chance.choice((1, 2, 5)),
        window_size=window,
        max_messages=per_visit,
        cancel_token_hold_on_retransmit=chance.happens(0.5),
        join_coalesce=chance.choice((0.0, 0.005)),
        merge_backoff_max=chance.choice((0.02, 0.02, 2 * TOKEN, 16 * TOKEN)),
        frame_bytes=frame,
        datagram_bytes=chance.choice((200, 1_400)),
        store_frames_max=chance.choice((2 * (window + per_visit) + 20, 4_096)),
        missing_max=chance.choice((1, 3, 128)),
        window_growth=chance.choice((1, 1, 4, 16)),
        park_visits=chance.choice((0, 1, 1, 2)),
        keep=chance.choice((0.0, 0.002, 0.01, 0.05)),
    )
