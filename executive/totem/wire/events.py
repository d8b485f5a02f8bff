"""What the frame layer reports to the process that runs it: data, to be acted upon in this order."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from .datagrams import Run, Source
from .refusals import Refusal

Target: TypeAlias = int | Source
"""Where to send: a node id (its configured address), or an address."""


class PacketReceived(msgspec.Struct, frozen=True, gc=False):
    """A packet of a node that is proven to be alive; never the same one twice."""

    sender: int
    boot: bytes
    """Tells the sender's boots apart."""
    payload: bytes


class SendControl(msgspec.Struct, frozen=True):
    """Datagrams that are to be sent now, to one receiver."""

    to: Target
    datagrams: Run


class PeerProven(msgspec.Struct, frozen=True, gc=False):
    """A boot of a node has shown that it is alive; its packets are believed from here on."""

    sender: int
    boot: bytes
    restarted: bool
    """Another boot of the same node had been believed before."""


class PeerEnded(msgspec.Struct, frozen=True, gc=False):
    """The boot of a node that was believed until now has ended, by its own sealed word."""

    sender: int
    boot: bytes


class DuplicateNode(msgspec.Struct, frozen=True):
    """Another living process has shown that it has the cluster key and *this* node's id."""

    node_id: int
    source: Source
    """The other one's address."""
    yields: bool
    """Of the two it is this process that should stop: both compute the same answer."""


class Dropped(msgspec.Struct, frozen=True):
    """Something was dropped, and has been counted.  For the log."""

    refusal: Refusal
    source: Source


FrameEvent: TypeAlias = PacketReceived | SendControl | PeerProven | PeerEnded | DuplicateNode | Dropped
