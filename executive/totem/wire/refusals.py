"""Why something that arrived was dropped: the one list, and the exception that carries an entry of it.

A peer's bytes never raise past the frame layer: whatever is wrong with them becomes one of these reasons, is counted
under its value, and is dropped.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from ....ipc.errors import MalformedMessage


class Refusal(enum.StrEnum):
    """A reason to drop.  The value is the name of its counter."""

    UNLISTED_ADDRESS = "unlisted_address"
    """The datagram came from an address that no configured node has."""
    OTHER_PORT = "other_port"
    """A part of a frame came from a node's address, but not from its port: another program there sends it."""

    BAD_MAGIC = "bad_magic"
    """No datagram of totemd: another program sends to this port."""
    BAD_VERSION = "bad_version"
    """A datagram of another version of totemd's wire format."""
    BAD_DATAGRAM = "bad_datagram"
    """A datagram that is cut short, or whose counts and lengths contradict each other."""
    DUPLICATE_FRAGMENT = "duplicate_fragment"
    """A fragment that is there already, as is its frame, or that was asked for and came too late to be of use."""
    INCOMPLETE_FRAME = "incomplete_frame"
    """Fragments whose frame was never completed, for want of time or room."""

    BAD_FRAME = "bad_frame"
    """A frame that is cut short or has fields that cannot be."""
    OTHER_CLUSTER = "other_cluster"
    """A frame of a cluster with another name."""
    OTHER_SUITE = "other_suite"
    """A frame sealed with another cipher than the configured one."""
    INVALID_DIGEST = "invalid_digest"
    """A frame that was sealed with another key, or altered on its way."""
    DAMAGED_FRAME = "damaged_frame"
    """Without a cipher: a frame whose checksum is wrong."""

    OWN_FRAME = "own_frame"
    """This process sent it."""
    MISDIRECTED_FRAME = "misdirected_frame"
    """It was sealed for another node: somebody on the way sent it here."""
    NAMESAKE_FRAME = "namesake_frame"
    """It bears this node's id, but another boot: an old frame of this node, or a second node with its id."""
    UNLISTED_SENDER = "unlisted_sender"
    """Its sender's node id is not in the node list, or there are too many senders."""
    RETIRED_BOOT = "retired_boot"
    """Its sender has started anew since."""
    REPLAYED_FRAME = "replayed_frame"
    """It has been received before, or is too old to tell."""
    UNPROVEN_FRAME = "unproven_frame"
    """Nothing shows that its sender sealed it recently."""
    BAD_CONTROL = "bad_control"
    """A challenge or response that has the wrong length, or contradicts itself."""
    UNASKED_RESPONSE = "unasked_response"
    """A response to a challenge that is not, or no longer, open."""


LOG_WORDS: Final[Mapping[Refusal, str]] = {
    Refusal.INVALID_DIGEST: "Invalid digest: Received message has invalid digest... ignoring.",
    Refusal.DAMAGED_FRAME: "Received message has a wrong checksum... ignoring.",
    Refusal.OTHER_SUITE: "Received message has different crypto type... ignoring.",
    Refusal.OTHER_CLUSTER: "Received message belongs to a cluster with another name... ignoring.",
    Refusal.BAD_MAGIC: "Received message has bad magic number... ignoring.",
    Refusal.BAD_VERSION: "Received message has unsupported version... ignoring.",
    Refusal.UNLISTED_SENDER: "Received message is of a node that is not in the node list... ignoring.",
}
"""What the log says, rate-limited and with the source address; the other reasons are counted only."""


class Refused(MalformedMessage):
    """What arrived is to be dropped and counted as `refusal`.  Raised and caught below the frame layer only."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


class MalformedDatagram(Refused):
    """Bytes that are no datagram of this wire format."""


class MalformedFrame(Refused):
    """Bytes that are no frame of this cluster."""


class InvalidDigest(Refused):
    """A frame that was sealed with another key, or altered on its way."""

    def __init__(self, refusal: Refusal = Refusal.INVALID_DIGEST) -> None:
        super().__init__(refusal)
