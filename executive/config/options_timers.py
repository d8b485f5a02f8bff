"""The rows of `totem { }` that are about time and rhythm: timers, flow control, patience.

Source of bounds and defaults: corosync.conf(5) and the checks of corosync 3.1.7.
"""

from __future__ import annotations

from .kinds import Integer, Switch
from .options import Derived, Effect, Option, Values

TIMEOUT_MIN = 30
"""Shortest timer, ms: three ticks of a 100 Hz clock."""

HOLD_MIN = 14
"""Shortest hold timer, ms: what the shortest retransmit timer leads to."""

MILLISECONDS = Integer(unit="ms")
COUNT = Integer()


def _token(values: Values) -> int:
    return values.number("token") + values.number("token_coefficient") * max(0, values.number("nodes") - 2)


def _token_retransmit(values: Values) -> int:
    return 5 * values.number("token") // (5 * values.number("token_retransmits_before_loss_const") + 1)


TIMERS = (
    Option(
        path="totem.token_coefficient",
        kind=MILLISECONDS,
        default=650,
        reload=True,
        doc="Added to `token` for every node above two, when there is a node list. 0 turns it off.",
    ),
    Option(
        path="totem.token",
        kind=MILLISECONDS,
        default=3000,
        zero_is_default=True,
        at_least=TIMEOUT_MIN,
        effective=Derived("token + token_coefficient × (nodes − 2), for more than two nodes", _token),
        reload=True,
        label="token timeout",
        doc="Time without the token after which the ring is declared lost. Raise it on slow networks and on machines "
        "that pause; every second more is a second more of silence when a node dies.",
        heritage="2.x: 1000",
    ),
    Option(
        path="totem.token_warning",
        kind=Integer(0, 100, "percent"),
        default=75,
        reload=True,
        doc="Part of the token timeout after which the missing token is logged. 0 = never.",
        heritage="3.x",
    ),
    Option(
        path="totem.token_retransmits_before_loss_const",
        kind=COUNT,
        default=4,
        zero_is_default=True,
        at_least=1,
        reload=True,
        doc="How often a token is sent again before the ring is declared lost; the next two timers follow from it.",
    ),
    Option(
        path="totem.token_retransmit",
        kind=MILLISECONDS,
        default=Derived(
            "token / (token_retransmits_before_loss_const + 0.2)",
            _token_retransmit,
            ("token", "token_retransmits_before_loss_const"),
        ),
        zero_is_default=True,
        at_least=TIMEOUT_MIN,
        reload=True,
        label="token retransmit timeout",
        doc="Time after which a token that was passed on is sent again. Better left to follow from `token`.",
    ),
    Option(
        path="totem.hold",
        kind=MILLISECONDS,
        default=Derived(
            "0.8 × token_retransmit − 10",
            lambda values: 8 * values.number("token_retransmit") // 10 - 10,
            ("token_retransmit",),
        ),
        zero_is_default=True,
        at_least=HOLD_MIN,
        reload=True,
        label="token hold timeout",
        doc="How long the token rests, with who sent last, while nobody has anything to send.",
        heritage="2.x: at least 30",
    ),
    Option(
        path="totem.join",
        kind=MILLISECONDS,
        default=50,
        zero_is_default=True,
        at_least=TIMEOUT_MIN,
        reload=True,
        label="join timeout",
        doc="How often a join message is repeated while a membership is being agreed on. 100 to 200 for more than "
        "16 nodes.",
    ),
    Option(
        path="totem.send_join",
        kind=MILLISECONDS,
        default=0,
        reload=True,
        doc="Upper bound of a random pause before each join message; keeps large rings (above about 32 nodes: 80) "
        "from sending all at once.",
    ),
    Option(
        path="totem.consensus",
        kind=MILLISECONDS,
        default=Derived("1.2 × token", lambda values: values.number("token") * 6 // 5, ("token",)),
        zero_is_default=True,
        at_least=TIMEOUT_MIN,
        reload=True,
        label="consensus timeout",
        doc="Time allowed for all nodes to agree on a membership before those that are silent are left out. At least "
        "`join`; for three nodes and more it should be longer than the effective `token`.",
    ),
    Option(
        path="totem.merge",
        kind=MILLISECONDS,
        default=200,
        zero_is_default=True,
        at_least=TIMEOUT_MIN,
        reload=True,
        label="merge timeout",
        doc="Pause between two searches for other rings while there is no traffic.",
    ),
    Option(
        path="totem.downcheck",
        kind=MILLISECONDS,
        default=1000,
        zero_is_default=True,
        at_least=TIMEOUT_MIN,
        reload=True,
        effect=Effect.LATER,
        label="downcheck timeout",
        doc="How often a network interface that is down is looked at again.",
    ),
    Option(
        path="totem.max_network_delay",
        kind=MILLISECONDS,
        default=50,
        zero_is_default=True,
        at_least=TIMEOUT_MIN,
        reload=True,
        doc="Longest time the network takes for one packet; used with `heartbeat_failures_allowed` only.",
    ),
    Option(
        path="totem.heartbeat_failures_allowed",
        kind=COUNT,
        default=0,
        reload=True,
        doc="Detect a lost token earlier, after this many missed rotations: the timeout is token_retransmit × this + "
        "max_network_delay, and off when that is not shorter than `token`. 0 = off. For reliable networks.",
    ),
    Option(
        path="totem.cancel_token_hold_on_retransmit",
        kind=Switch(),
        default=False,
        reload=True,
        doc="Let a held token go on when a message has to be sent again.",
        heritage="since 3.1.5; 2.x: always",
    ),
)

FLOW = (
    Option(
        path="totem.fail_recv_const",
        kind=COUNT,
        default=2500,
        zero_is_default=True,
        at_least=1,
        reload=True,
        doc="Rotations of the token without getting what others have, after which a node gives up and starts over.",
    ),
    Option(
        path="totem.seqno_unchanged_const",
        kind=COUNT,
        default=30,
        zero_is_default=True,
        at_least=1,
        reload=True,
        doc="Rotations without a new message after which the token rests (see `hold`). Where it is not given, three "
        "are enough if everybody has everything.",
    ),
    Option(
        path="totem.miss_count_const",
        kind=COUNT,
        default=5,
        zero_is_default=True,
        at_least=1,
        reload=True,
        doc="Visits of the token during which a message is waited for before it is asked for again.",
    ),
    Option(
        path="totem.window_size",
        kind=Integer(unit="datagrams"),
        default=50,
        zero_is_default=True,
        at_least=1,
        reload=True,
        doc="What a ring may send per rotation of the token. More gives throughput and costs latency, and the slowest "
        "node's receive buffer must hold it. Where neither this nor max_messages is given, both grow up to 32 times "
        "while nothing is lost and a rotation takes less than 40 ms.",
    ),
    Option(
        path="totem.max_messages",
        kind=Integer(unit="datagrams"),
        default=17,
        zero_is_default=True,
        at_least=1,
        reload=True,
        doc="What one node may send per visit of the token.",
    ),
)
