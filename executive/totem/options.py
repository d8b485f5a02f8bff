"""From the configuration to the core's parameters; pure."""

from __future__ import annotations

import zlib

import msgspec

from ..config.model import Configuration
from .core.parameters import RingParameters
from .links.settings import SOCKET_BUFFER_BYTES
from .wire.codec import MCAST_OVERHEAD_BYTES
from .wire.datagrams import FRAGMENT_OVERHEAD_BYTES
from .wire.frames import FrameSettings
from .wire.packets import FRAME_BODY_BYTES_MAX
from .wire.seal import FRAME_OVERHEAD_BYTES
from .wire.suites import Suite

FRAME_DATAGRAMS_MIN = 44
"""Datagrams of a full frame: as many as Linux sends with one call (UDP_SEGMENT, 64 kB).  Where datagrams are lost
frames become smaller by themselves (core/adaptation.py)."""

FRAME_DATAGRAMS_MAX = 180
"""The same where windows grow: a quarter of a megabyte, so that a batch of cpg fits.  A frame has a price besides its
bytes, at each of its receivers."""

FRAMES_PER_WINDOW = 2
"""In the largest window every member has room for so many full frames, though they are no shorter than the least."""

WINDOW_GROWTH = 32
"""How many times corosync's defaults of window_size and max_messages may be where nothing is lost: 2.3 MB per rotation.
What is configured is taken as it is."""

BUFFER_SHARE = 0.5
"""Share of a receive buffer that a window may fill: the kernel counts its own structures against it, too."""

PARK_VISITS = 1
"""Idle rotations after which the token rests if everybody has everything, unless seqno_unchanged_const is configured:
corosync turns 30 times more, which costs three nodes half a processor between two messages."""

KEEP_SECONDS = 0.004
"""How long the only sender keeps the token, in case it has more to say at once.  Shorter than the least patience with
a token that may be lost (`core/rhythm.py`), and than the time that somebody else, who does not know, should wait."""

KEEP_RETRANSMIT_SHARE = 0.05
"""With very short timeouts: this share of the retransmit timeout."""

KNOCK_SECONDS = 0.1
"""A member that sent its successor nothing for so long sends something small, to learn if nobody is there any more:
ten packets a second on an idle ring, none on a busy one."""

KNOCK_TOKEN_SHARE = 0.1
"""With very short token timeouts: this share of it."""

_MS = 0.001


def frame_bytes_per_datagram(size: int) -> int:
    """What a datagram of *size* bytes carries of a frame: the unit of flow control."""
    return size - FRAGMENT_OVERHEAD_BYTES


def frame_settings(configuration: Configuration, key: bytes, size: int) -> FrameSettings:
    """What the frame layer needs to know."""
    totem = configuration.totem
    return FrameSettings(
        node_id=configuration.local_node_id,
        cluster_name=totem.cluster_name,
        suite=Suite.chosen(totem.cipher, totem.integrity),
        key=key,
        nodes=configuration.node_ids,
        admit_unlisted=not totem.block_unlisted_ips,
        datagram_bytes=size,
    )


def ring_parameters(
    configuration: Configuration, unit_bytes: int, buffer_bytes: int = SOCKET_BUFFER_BYTES
) -> RingParameters:
    """The core's constants; *unit_bytes* is what one datagram carries of a frame, *buffer_bytes* what the kernel gives
    a link for what has arrived; the other nodes are taken to have as much."""
    totem = configuration.totem
    given = configuration.cmap.keys()
    window_given = {"totem.window_size", "totem.max_messages"} & given
    fits = int(BUFFER_SHARE * buffer_bytes / (totem.window_size * unit_bytes))
    growth = 1 if window_given else max(1, min(WINDOW_GROWTH, fits))
    heartbeat = totem.heartbeat_failures_allowed * totem.token_retransmit + totem.max_network_delay
    heartbeat_on = totem.heartbeat_failures_allowed > 0 and heartbeat < totem.token
    return RingParameters(
        node_id=configuration.local_node_id,
        token=totem.token * _MS,
        token_retransmit=totem.token_retransmit * _MS,
        hold=totem.hold * _MS,
        join=totem.join * _MS,
        consensus=totem.consensus * _MS,
        merge=totem.merge * _MS,
        send_join=totem.send_join * _MS,
        token_warning=totem.token * totem.token_warning / 100 * _MS,
        heartbeat=heartbeat * _MS if heartbeat_on else 0.0,
        knock=min(KNOCK_SECONDS, KNOCK_TOKEN_SHARE * totem.token * _MS),
        fail_recv_const=totem.fail_recv_const,
        seqno_unchanged_const=totem.seqno_unchanged_const,
        park_visits=0 if "totem.seqno_unchanged_const" in given else PARK_VISITS,
        keep=min(KEEP_SECONDS, KEEP_RETRANSMIT_SHARE * totem.token_retransmit * _MS),
        miss_count_const=totem.miss_count_const,
        window_size=totem.window_size,
        max_messages=totem.max_messages,
        window_growth=growth,
        cancel_token_hold_on_retransmit=totem.cancel_token_hold_on_retransmit,
        frame_bytes=_frame_bytes(unit_bytes, totem.window_size * growth, len(configuration.node_ids)),
        datagram_bytes=unit_bytes,
        options_digest=options_digest(configuration),
    )


def _frame_bytes(unit_bytes: int, window: int, nodes: int) -> int:
    """Body bytes of a full frame, where a rotation carries *window* datagrams at the most."""
    share = window // (FRAMES_PER_WINDOW * max(1, nodes))
    datagrams = max(FRAME_DATAGRAMS_MIN, min(share, FRAME_DATAGRAMS_MAX))
    # An encapsulated frame is one header longer than an ordinary one, and must still fit.
    return min(datagrams * unit_bytes - FRAME_OVERHEAD_BYTES, FRAME_BODY_BYTES_MAX) - 2 * MCAST_OVERHEAD_BYTES


def options_digest(configuration: Configuration) -> int:
    """A checksum of what should be equal on all nodes of a ring; differences are logged, not enforced."""
    totem = configuration.totem
    relevant = (
        totem.token,
        totem.token_retransmit,
        totem.consensus,
        totem.join,
        totem.merge,
        totem.window_size,
        totem.max_messages,
        totem.netmtu,
        configuration.node_ids,
    )
    return zlib.crc32(msgspec.msgpack.encode(relevant))
