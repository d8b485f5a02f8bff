"""One frame and its seal: header, key schedule, nonces.

```
 0      1        2      3     4            8         12      16          32       40
 magic  version  suite  kind  cluster tag  receiver  sender  boot nonce  counter  sealed payload …
```

The header travels in the clear and is authenticated with the payload.  A frame for one node names it, since a token
that somebody on the way brought to another node would be a second token.

Keys: HKDF-SHA256 turns the cluster key into a master key that belongs to one wire version, suite and cluster name;
each boot of each sender has its own key, derived from the master key, its node id and 16 random bytes that it drew
when it started.  The nonce under that key is a counter from 0.  So no (key, nonce) pair repeats as long as the random
bytes do not, whatever was lost from disk.  docs/security.md has the argument in full.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from collections import OrderedDict
from typing import Final

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from ....ipc.errors import InvalidArgument
from ....ipc.ids import NODE_ID_MAX
from .refusals import MalformedFrame, Refusal
from .suites import NONCE_BYTES, TAG_BYTES, Protection, Suite

FRAME_MAGIC: Final = 0xA6
"""First byte of every frame."""

FRAME_VERSION: Final = 1
"""Second byte; takes part in the key, so that two versions never share one."""

BOOT_BYTES: Final = 16
"""Random bytes that a process draws when it starts; they tell its boots apart."""

CLUSTER_TAG_BYTES: Final = 4
"""Bytes of the hash of the cluster's name in each frame: enough to tell a neighbour from an intruder."""

PAYLOAD_BYTES_MAX: Final = 256 * 1024
"""Longest payload of a frame."""

CONTEXTS_MAX: Final = 1024
"""Keys of senders' boots that a receiver keeps ready (least recently used goes); twice a cluster of 384 and more."""

EVERYBODY: Final = 0
"""As a receiver: any node.  0 is never a node id."""

_HEADER: Final = struct.Struct(f">BBBB{CLUSTER_TAG_BYTES}sII{BOOT_BYTES}sQ")
_WHO_AT: Final = 12
"""Where sender and boot stand, up to the counter."""
_COUNTER_BYTES: Final = 8
_COUNTER_AT: Final = _HEADER.size - _COUNTER_BYTES
_NONCE_PADDING: Final = bytes(NONCE_BYTES - _COUNTER_BYTES)
_MASTER_KEY_BYTES: Final = 32
_DOMAIN: Final = b"totemd frame"

FRAME_OVERHEAD_BYTES: Final = _HEADER.size + TAG_BYTES
"""The most that sealing adds to a payload."""

COUNTER_MAX: Final = 2**64 - 1
"""Last counter of a boot; at a million frames a second it lasts 580,000 years."""


class FrameKind(enum.IntEnum):
    """What a frame's payload is."""

    PACKET = 1
    """An encoded packet of the ring."""
    CHALLENGE = 2
    """A question: are you alive? (see `sessions`)"""
    RESPONSE = 3
    """The answer."""
    OBITUARY = 4
    """This boot has ended.  Sealed while it lived, sent by somebody else once it is dead (see `sessions`)."""
    REPAIR = 5
    """Some datagrams of a frame are missing (see `repair`)."""


class OpenedFrame(msgspec.Struct, frozen=True, gc=False):
    """What a frame says, once its seal has been checked."""

    to: int
    """The receiver, or `EVERYBODY`."""
    sender: int
    boot: bytes
    counter: int
    kind: int
    payload: bytes


class ClusterSecret:
    """What all nodes of a cluster share: suite, cluster name and master key."""

    def __init__(self, suite: Suite, cluster_name: str, key: bytes) -> None:
        """*key* is the whole content of the key file; it is not used with `Suite.NONE`.

        Raises:
            InvalidArgument: the suite needs a key and there is none.
        """
        if suite.authenticates and not key:
            raise InvalidArgument(f"{suite.label} needs the cluster key, and it is empty")
        name = cluster_name.encode("utf-8", "surrogateescape")
        self.suite = suite
        self.cluster_tag = hashlib.sha256(_DOMAIN + b" cluster\0" + name).digest()[:CLUSTER_TAG_BYTES]
        label = suite.label.encode()
        self._master = HKDF(
            algorithm=hashes.SHA256(),
            length=_MASTER_KEY_BYTES,
            salt=_DOMAIN + bytes([FRAME_VERSION]),
            # Lengths before the parts: no two (suite, name) pairs read the same.
            info=b"master" + bytes([len(label)]) + label + struct.pack(">I", len(name)) + name,
        ).derive(key)

    def protection(self, sender: int, boot: bytes) -> Protection:
        """The protection of one boot of one sender.

        Raises:
            OperationFailed: the cryptographic library of this machine does not offer the cipher.
        """
        if not self.suite.authenticates:
            return self.suite.protection(b"")
        info = b"sender" + struct.pack(">I", sender) + boot
        key = HKDFExpand(algorithm=hashes.SHA256(), length=self.suite.key_bytes, info=info).derive(self._master)
        return self.suite.protection(key)


def name_of(frame: bytes) -> tuple[bytes, int] | None:
    """Boot and counter that a frame, or the beginning of one, states; None if that is not there.  Not checked."""
    if len(frame) < _HEADER.size:
        return None
    *_, boot, counter = _HEADER.unpack_from(frame)
    return boot, counter


class Sealer:
    """Seals what one boot of one node sends.  There must be one only for a *boot*: it owns the counter."""

    def __init__(self, secret: ClusterSecret, sender: int, boot: bytes) -> None:
        """*boot*: `BOOT_BYTES` fresh bytes of the kernel's generator."""
        if len(boot) != BOOT_BYTES or not 0 < sender <= NODE_ID_MAX:
            raise InvalidArgument(f"a boot has {BOOT_BYTES} random bytes, and a node id is from 1 to {NODE_ID_MAX}")
        self.counter = 0
        """Of the next frame: how many have been sealed."""
        self._seal = secret.protection(sender, boot).seal
        start = bytes([FRAME_MAGIC, FRAME_VERSION, secret.suite.number])
        self._stems = {kind: start + bytes([kind]) + secret.cluster_tag for kind in FrameKind}
        self._who = struct.pack(">I", sender) + boot

    def seal(self, kind: FrameKind, payload: bytes, to: int = EVERYBODY) -> bytes:
        """The frame, for one node or for any.

        Raises:
            InvalidArgument: the payload is too long.
        """
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise InvalidArgument(f"a frame holds at most {PAYLOAD_BYTES_MAX} bytes, not {len(payload)}")
        counter = self.counter.to_bytes(_COUNTER_BYTES, "big")
        self.counter += 1
        header = self._stems[kind] + to.to_bytes(4, "big") + self._who + counter
        return header + self._seal(_NONCE_PADDING + counter, header, payload)


class Opener:
    """Opens the frames of all senders of one cluster."""

    def __init__(self, secret: ClusterSecret) -> None:
        self._secret = secret
        self._suite = secret.suite.number
        self._cluster_tag = secret.cluster_tag
        self._contexts: OrderedDict[bytes, Protection] = OrderedDict()

    def open(self, frame: bytes) -> OpenedFrame:
        """The content of *frame*.  Nothing else is raised, whatever the bytes are.

        Raises:
            MalformedFrame: no frame, or one of another version, suite or cluster.
            InvalidDigest: sealed with another key, or altered.
        """
        if len(frame) < _HEADER.size:
            raise MalformedFrame(Refusal.BAD_FRAME)
        magic, version, suite, kind, tag, to, sender, boot, counter = _HEADER.unpack_from(frame)
        if magic != FRAME_MAGIC:
            raise MalformedFrame(Refusal.BAD_FRAME)
        if version != FRAME_VERSION:
            raise MalformedFrame(Refusal.BAD_VERSION)
        if tag != self._cluster_tag:
            raise MalformedFrame(Refusal.OTHER_CLUSTER)
        if suite != self._suite:
            raise MalformedFrame(Refusal.OTHER_SUITE)
        if not FrameKind.PACKET <= kind <= FrameKind.REPAIR or sender == 0:
            raise MalformedFrame(Refusal.BAD_FRAME)
        if len(frame) > PAYLOAD_BYTES_MAX + FRAME_OVERHEAD_BYTES:
            raise MalformedFrame(Refusal.BAD_FRAME)
        header = frame[: _HEADER.size]
        who = frame[_WHO_AT:_COUNTER_AT]
        context = self._contexts.get(who)
        fresh = context is None
        if context is None:
            context = self._secret.protection(sender, boot)
        payload = context.open(_NONCE_PADDING + header[_COUNTER_AT:], header, memoryview(frame)[_HEADER.size :])
        # Only now: keys that a stranger makes us derive must not push out those of the members.
        if fresh:
            self._remember(who, context)
        else:
            self._contexts.move_to_end(who)
        return OpenedFrame(to, sender, boot, counter, kind, payload)

    def _remember(self, who: bytes, context: Protection) -> None:
        self._contexts[who] = context
        if len(self._contexts) > CONTEXTS_MAX:
            self._contexts.popitem(last=False)
