"""What the sam processes tell each other in their group, and its bytes.

A payload is one octet, `VERSION`, and a msgpack map.  A higher version is another language; fields may be added to
this one, and are ignored by those who do not know them.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ...ipc.errors import MalformedMessage
from ...ipc.messages.sam import AppName, Instance, Pid
from ...ipc.messages.sam_singleton import HANDED_BYTES_MAX, Fence
from ...ipc.strict import decode_strictly
from .timing import HOLD_SECONDS_MAX

GROUP = b"totemd:sam"
"""The group of the sam processes; the cpg service lets only root and the node's owner join names that begin so."""

VERSION = 1

CANDIDATES_MAX = 256
"""Candidates of one node."""

STORED_NAMES_MAX = 64
"""Singletons whose data is kept; that of the oldest terms is dropped first."""

APPS_PER_MESSAGE_MAX = 1_000
"""Applications in one message; more follow in the next."""

FENCE_MAX = 2**53 - 1
"""The highest fencing token: every language and JSON can hold it."""

RANK_MAX = 2**53
"""The last place in line; those who share it go by node id."""

Rank = Annotated[int, msgspec.Meta(ge=0, le=RANK_MAX)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Word = Annotated[str, msgspec.Meta(max_length=32)]


class Telling(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of all messages."""


class Candidate(msgspec.Struct, frozen=True, array_like=True):
    """A sam-run of the sender's node that may run a singleton, or does."""

    name: AppName
    rank: Rank
    """Lower ones have stood in line for longer."""
    number: Number
    """Tells the candidates of one node apart."""
    fence: Fence = 0
    """Of the term in which it runs; 0: it stands by."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    """Which version of a singleton's data the sender has."""

    name: AppName
    fence: Fence
    version: Number


class Standing(Telling, frozen=True, tag="standing"):
    """Everything about candidates and data that the sender stands for; replaces what it said before."""

    candidates: Annotated[tuple[Candidate, ...], msgspec.Meta(max_length=CANDIDATES_MAX)] = ()
    heads: Annotated[tuple[Head, ...], msgspec.Meta(max_length=STORED_NAMES_MAX)] = ()


class Claim(Telling, frozen=True, tag="claim"):
    """The sender's node asks to run a singleton, or to go on running it."""

    name: AppName
    fence: Fence
    number: Number
    """Names the claim: when it was sent, in microseconds of the sender's clock.  Its lease begins then."""
    hold_ms: Annotated[int, msgspec.Meta(ge=0, le=int(HOLD_SECONDS_MAX * 1000))]
    """For so long nobody else may be voted for, from the moment that the voter reads this."""
    renewal: bool = False
    """The term has begun, and its lease is not over."""


class Vote(Telling, frozen=True, tag="vote"):
    """The answer of each member to a claim."""

    node_id: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
    """Who claimed."""
    pid: Pid
    name: AppName
    fence: Fence
    number: Number
    granted: bool
    remaining_ms: Annotated[int, msgspec.Meta(ge=0, le=int(HOLD_SECONDS_MAX * 1000))] = 0
    """If not granted: for so long the voter has promised it to somebody else."""
    highest: Fence = 0
    """The highest fence that the voter has seen."""


class Release(Telling, frozen=True, tag="release"):
    """Nothing of that term runs any more, or ever will."""

    name: AppName
    fence: Fence


class Stored(Telling, frozen=True, tag="stored"):
    """What the next runner is to be given."""

    name: AppName
    fence: Fence
    version: Number
    data: Annotated[bytes, msgspec.Meta(max_length=HANDED_BYTES_MAX)]


class SharedApp(msgspec.Struct, frozen=True, array_like=True):
    """An application of the sender's node, as `AppInfo` has it."""

    name: AppName
    pid: Pid
    state: Word
    instance: Instance
    policy: Word
    fence: Fence = 0


class Apps(Telling, frozen=True, tag="apps"):
    """The applications of the sender's node that changed."""

    first: bool
    """What was said before is void: these are all, or the first of all."""
    apps: Annotated[tuple[SharedApp, ...], msgspec.Meta(max_length=APPS_PER_MESSAGE_MAX)] = ()
    gone: Annotated[tuple[AppName, ...], msgspec.Meta(max_length=APPS_PER_MESSAGE_MAX)] = ()


Message = Standing | Claim | Vote | Release | Stored | Apps

_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_ENCODER = msgspec.msgpack.Encoder()
_HEAD = bytes([VERSION])


def encode(message: Message) -> bytes:
    """The payload."""
    return _HEAD + _ENCODER.encode(message)


def decode(payload: bytes | memoryview) -> Message:
    """The message.

    Raises:
        MalformedMessage: it is none of this version.  Nothing else is ever raised.
    """
    view = memoryview(payload)
    if not view or view[0] != VERSION:
        raise MalformedMessage(f"sam group: version {VERSION} is spoken here, not {view[0] if view else 'none'}")
    return decode_strictly(_DECODER, view[1:], "sam group")
