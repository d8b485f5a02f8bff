"""Which services run on which node: what totem processes tell each other in the total order, on channel 0.

Pure.  `Roster` turns delivered announcements into stream events and remembers them for a service that attaches later.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ...ipc.ids import RingId
from ...ipc.messages.stream import ServiceDown, ServiceList, ServiceUp
from ...ipc.strict import decode_strictly

ANNOUNCEMENTS: Final = 0
"""The ring channel of the totem processes themselves."""

CHANNELS: Final[dict[str, int]] = {"cpg": 1, "quorum": 2}
"""Ring channel of each service that may attach."""

ServiceName = str


class Services(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """First message of a node on a ring: the services that run there."""

    ring: RingId
    services: tuple[ServiceName, ...]


class Up(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A service attached in the middle of a ring."""

    ring: RingId
    service: ServiceName


class Down(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A service is gone."""

    ring: RingId
    service: ServiceName


Announcement = Services | Up | Down

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[Announcement]] = msgspec.msgpack.Decoder(Announcement)


def encode(announcement: Announcement) -> bytes:
    """The payload of a submission on channel 0."""
    return _ENCODER.encode(announcement)


def decode(payload: bytes | memoryview) -> Announcement:
    """What a payload on channel 0 says.

    Raises:
        MalformedMessage: it is no announcement.
    """
    return decode_strictly(_DECODER, payload, "announcement")


class Roster:
    """What was announced on the installed ring so far, by node."""

    def __init__(self) -> None:
        self.services: dict[int, tuple[str, ...]] = {}
        self.news = 0
        """Starts and ends of services on this ring so far."""

    def new_ring(self) -> None:
        """A ring was installed: every member announces afresh."""
        self.services.clear()
        self.news = 0

    def delivered(
        self, origin: int, ring: RingId, announcement: Announcement
    ) -> ServiceList | ServiceUp | ServiceDown | None:
        """The stream event that an announcement means; None if it speaks of another ring or says nothing new."""
        if announcement.ring != ring:
            return None
        match announcement:
            case Services(services=services):
                self.services[origin] = services
                return ServiceList(origin, ring, services)
            case Up(service=service):
                # Also when it was listed: the exchange must start again, with the new process.
                known = set(self.services.get(origin, ()))
                self.services[origin] = tuple(sorted(known | {service}))
                self.news += 1
                return ServiceUp(origin, service, ring, self.news)
            case Down(service=service):
                known = set(self.services.get(origin, ()))
                if service not in known:
                    return None
                self.services[origin] = tuple(sorted(known - {service}))
                self.news += 1
                return ServiceDown(origin, service, ring, self.news)
