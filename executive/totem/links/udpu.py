"""UDP unicast: one socket, a datagram to each node of the node list.

Linux moves the datagrams of a frame with one call where it can: UDP_SEGMENT cuts one buffer on its way out, UDP_GRO
hands several datagrams of one sender over together.  Both are tried and, where they are refused, done without.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final, TypeAlias

from ....ipc.errors import OperationFailed
from ...runtime.logging import Logger
from ..wire.datagrams import Run, holds_fragments
from ..wire.events import Target
from ..wire.refusals import Refusal
from . import error_queue
from .base import DRAIN_DATAGRAMS_MAX, READ_DATAGRAMS_MAX, Complain, Deliver, PortClosed, Received, nobody_cares
from .complaints import Complaints
from .settings import LinkSettings

RECEIVE_BYTES: Final = 65_535
"""Longest datagram there is."""

SEGMENTS_MAX: Final = 64
"""Datagrams that one call may send (UDP_MAX_SEGMENTS of the oldest kernels that have it)."""

SEGMENTED_BYTES_MAX: Final = 65_000
"""Bytes that one call may send; the kernel counts its own headers against 65,535."""

SEND_TRIES: Final = 4
"""A call that sends may fail for what was sent before, and must be repeated; so often, as more reports may wait."""

# Linux; the socket module names none of them.
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103
_UDP_GRO: Final = 104

_SEGMENTATION_REFUSED: Final = frozenset({errno.EINVAL, errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EMSGSIZE})
"""What kernels, drivers and packet filters answer when a segmented send is more than they can do."""

_FAILED: Final = {"send": "Sending to", "receive": "Receiving at"}
"""Calls of the system as log lines name them, before the address."""

_INT: Final = struct.Struct("=i")
_SHORT: Final = struct.Struct("=H")
_GRO_CONTROL_BYTES: Final = socket.CMSG_SPACE(_INT.size)

_SocketAddress: TypeAlias = tuple[Any, ...]


def socket_address(address: str, port: int) -> tuple[socket.AddressFamily, _SocketAddress]:
    """Family and socket address of a numeric address.

    Raises:
        OperationFailed: it is none.
    """
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM, flags=flags)
    except (socket.gaierror, UnicodeError):
        raise OperationFailed(f"{address!r} is no numeric address of IPv4 or IPv6") from None
    return found[0][0], found[0][4]


class UdpuLink:
    """Unicast to the configured addresses, over one socket bound to this node's own."""

    def __init__(
        self, settings: LinkSettings, deliver: Deliver, log: Logger, complain: Complain = nobody_cares
    ) -> None:
        self._settings = settings
        self._deliver = deliver
        self._complain = complain
        self._reports: list[PortClosed] = []
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None
        self._addresses: dict[int, _SocketAddress] = {}
        self._node_at: dict[str, int] = {}
        self._listed: frozenset[str] = frozenset()
        self._segmentation = True
        self._coalescing = False
        self.drained = False
        """See `Link.drained`."""
        self.receive_buffer_bytes = settings.buffer_bytes
        """See `Link.receive_buffer_bytes`."""
        self._counts: Counter[str] = Counter()
        self._complaints = Complaints()
        self.set_peers(settings.peers)

    def open(self) -> None:
        """See `Link.open`."""
        settings = self._settings
        family, address = socket_address(settings.address, settings.port)
        bound = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind(address)
        except OSError as error:
            bound.close()
            raise OperationFailed(
                f"cannot use {settings.address} port {settings.port} (UDP): {error.strerror}{_hint(error)}"
            ) from None
        self.receive_buffer_bytes = self._enlarge(bound, socket.SO_RCVBUF, _SO_RCVBUFFORCE, "receive")
        self._enlarge(bound, socket.SO_SNDBUF, _SO_SNDBUFFORCE, "send")
        with contextlib.suppress(OSError):  # a kernel before 5.0
            bound.setsockopt(_SOL_UDP, _UDP_GRO, 1)
            self._coalescing = True
        error_queue.watch(bound)
        self._socket = bound
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound.fileno(), self._readable)

    def close(self) -> None:
        """See `Link.close`."""
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def send(self, to: Target, datagrams: Run) -> None:
        """See `Link.send`."""
        address = self._addresses.get(to) if isinstance(to, int) else to
        if address is not None:
            self._transmit(address, datagrams)
        elif to != self._settings.node_id:
            self._counts["unknown_receiver"] += 1

    def multicast(self, nodes: Iterable[int], datagrams: Run) -> None:
        """See `Link.multicast`."""
        for node in nodes:
            self.send(node, datagrams)

    def drain(self, limit: int = DRAIN_DATAGRAMS_MAX) -> list[Received]:
        """See `Link.drain`."""
        received: list[Received] = []
        if self._socket is None:
            return received
        everybody, count = not self._settings.block_unlisted, 0
        self.drained = False
        for _ in range(limit):
            if count >= limit:
                break
            try:
                run, address = self._receive(self._socket)
            except BlockingIOError:
                self.drained = True
                break
            except ConnectionRefusedError:
                self._take_reports(self._socket)
                continue
            except OSError as error:
                # An error that the network reported for an earlier datagram; what waits behind it is still good.
                self._failed("receive", error, self._settings.address)
                continue
            if not everybody and (reason := self._objection(run, address)) is not None:
                self._reject(address[0], reason)
                continue
            received.append(Received(run, (address[0], address[1])))
            count += len(run)
        self._counts["received"] += count
        return received

    def set_peers(self, peers: Mapping[int, str]) -> None:
        """See `Link.set_peers`."""
        port = self._settings.port
        self._addresses = {node: socket_address(address, port)[1] for node, address in peers.items()}
        self._node_at = {str(address[0]): node for node, address in self._addresses.items()}
        self._listed = frozenset(self._node_at)

    def counters(self) -> dict[str, int]:
        """See `Link.counters`."""
        return dict(self._counts)

    def _readable(self) -> None:
        received = self.drain(READ_DATAGRAMS_MAX)
        if received:
            self._deliver(received)
        elif self._socket is not None:
            self._take_reports(self._socket)  # what wakes the loop may be there alone

    def _receive(self, bound: socket.socket) -> tuple[Run, _SocketAddress]:
        """What one read brings."""
        if not self._coalescing:
            data, address = bound.recvfrom(RECEIVE_BYTES)
            return Run.of(data), address
        data, control, _, address = bound.recvmsg(RECEIVE_BYTES, _GRO_CONTROL_BYTES)
        return Run(data, _INT.unpack(control[0][2])[0] if control else len(data)), address

    def _transmit(self, address: _SocketAddress, datagrams: Run) -> None:
        if self._socket is None:
            return
        sent = 0
        try:
            for _ in range(SEND_TRIES):
                try:
                    sent = self._push(self._socket, address, datagrams)
                    break
                except ConnectionRefusedError:
                    # About a datagram that was sent earlier, maybe to another node; this one has not gone out.
                    self._take_reports(self._socket)
            else:
                self._counts["send_given_up"] += 1
        except BlockingIOError:
            # The frame is lost with any of its datagrams, so the rest of it is not worth the wire.
            self._counts["send_buffer_full"] += 1
        except OSError as error:
            self._failed("send", error, str(address[0]))
        self._counts["sent"] += sent

    def _push(self, through: socket.socket, address: _SocketAddress, datagrams: Run) -> int:
        if len(datagrams.data) <= datagrams.size:
            through.sendto(datagrams.data, address)
            return 1
        sent, count = self._transmit_segmented(through, address, datagrams) if self._segmentation else 0, len(datagrams)
        if sent < count:
            for datagram in islice(datagrams, sent, None):
                through.sendto(datagram, address)
        return count

    def _take_reports(self, bound: socket.socket) -> None:
        """Closed ports of configured nodes, handed on once per node when the loop turns."""
        for address, quoted in error_queue.take(bound):
            self._counts["port_closed"] += 1
            node = self._node_at.get(address)
            if node is None or any(report.node == node for report in self._reports):
                continue
            if not self._reports and self._loop is not None:
                self._loop.call_soon(self._hand_on_reports)
            self._reports.append(PortClosed(node, quoted))

    def _hand_on_reports(self) -> None:
        reports, self._reports = self._reports, []
        if self._socket is not None:
            self._complain(reports)

    def _transmit_segmented(self, through: socket.socket, address: _SocketAddress, datagrams: Run) -> int:
        """Send with one call for many datagrams; how many went out before that turned out not to work here."""
        data, size, count = memoryview(datagrams.data), datagrams.size, len(datagrams)
        control = [(_SOL_UDP, _UDP_SEGMENT, _SHORT.pack(size))]
        step = max(1, min(SEGMENTS_MAX, SEGMENTED_BYTES_MAX // size))
        for sent in range(0, count, step):
            try:
                through.sendmsg((data[sent * size : (sent + step) * size],), control, 0, address)
            except BlockingIOError:
                raise
            except OSError as error:
                if error.errno not in _SEGMENTATION_REFUSED:
                    raise
                self._segmentation = False
                self._log.info(f"Datagrams are sent one by one: segmentation does not work here: {error.strerror}")
                return sent
        return count

    def _enlarge(self, bound: socket.socket, option: int, forced: int, direction: str) -> int:
        """Ask for a larger buffer; returns what is granted."""
        wanted = self._settings.buffer_bytes
        try:
            bound.setsockopt(socket.SOL_SOCKET, forced, wanted)
        except PermissionError:
            bound.setsockopt(socket.SOL_SOCKET, option, wanted)
        # The kernel tells twice of what it grants (socket(7)).
        granted = bound.getsockopt(socket.SOL_SOCKET, option) // 2
        if granted < wanted:
            limit = "net.core.rmem_max" if option == socket.SO_RCVBUF else "net.core.wmem_max"
            self._log.info(
                f"The {direction} buffer has {granted} bytes instead of {wanted}: a burst may be lost; raise {limit}"
            )
        return granted

    def _objection(self, run: Run, address: _SocketAddress) -> Refusal | None:
        """Why what came from *address* is no node's, if that is so."""
        if address[0] not in self._listed:
            return Refusal.UNLISTED_ADDRESS
        # Fragments wait for others, and nothing proves whose they are: whoever may use this machine could send some.
        if address[1] != self._settings.port and holds_fragments(run):
            return Refusal.OTHER_PORT
        return None

    def _reject(self, address: str, reason: Refusal) -> None:
        self._counts[f"dropped_{reason.value}"] += 1
        unsaid = self._complaints.admit((reason, address), self._now())
        if unsaid is not None:
            more = {"unsaid": unsaid} if unsaid else {}
            self._log.debug(f"Packet rejected from {address}", reason=reason.value, **more)

    def _failed(self, what: str, error: OSError, address: str) -> None:
        name = errno.errorcode.get(error.errno or 0, "unknown").lower()
        self._counts[f"{what}_failed_{name}"] += 1
        unsaid = self._complaints.admit((what, name, address), self._now())
        if unsaid is not None:
            more = {"unsaid": unsaid} if unsaid else {}
            self._log.warning(f"{_FAILED[what]} {address} failed: {error.strerror}", **more)

    def _now(self) -> float:
        return 0.0 if self._loop is None else self._loop.time()


def _hint(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "; another totemd or corosync runs on this address"
    if error.errno == errno.EADDRNOTAVAIL:
        return "; no interface of this machine has that address"
    return ""
