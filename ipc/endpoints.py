"""ZeroMQ sockets, peer credentials and pidfds: the only module that imports zmq.

A ROUTER serves, a DEALER connects, both over `ipc://`.  Sockets are drained from the event loop's reader on their
descriptor.  That descriptor is edge-triggered (zmq_getsockopt(3), ZMQ_FD): the socket must be drained until it has
nothing more, and looked at again after every send, because a send may swallow the edge.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import zmq

from .errors import AccessDenied, ConnectionLost, InvalidArgument, OperationFailed

SOCKET_PATH_BYTES_MAX = 107
"""sun_path of unix(7), without the terminating zero."""

PRIVATE_SOCKET_MODE = 0o600
SHARED_SOCKET_MODE = 0o666
"""Permission bits of a socket for its owner alone, and of one where the credentials of who knocks decide."""

MESSAGE_FRAME_BYTES_MAX = 80 * 1024 * 1024
"""libzmq drops a connection that announces a longer frame; above the largest message that can be configured."""

DRAIN_MESSAGES_MAX = 256
"""Messages taken from one socket before the loop turns, so that one busy peer cannot starve timers."""

_PAYLOAD_COPY_BYTES_MAX = 64 * 1024
"""Longer payload frames are handed to libzmq without a copy."""

_RECEIVED_COPY_BYTES_MAX = 64 * 1024
"""Longer payload frames stay where libzmq has put them, and are handed on as a view."""

# pyzmq's upper layer makes enums of flags and looks for options in each call, which costs several times the call
# itself; a message of two frames goes out in 1 µs instead of 5 µs this way.  For the same reason a received frame is
# asked whether more follow, not the socket; where that is known, bytes are received, at a quarter of a frame's price.
_send_frame = cast("Callable[[object, bytes | memoryview, int, bool], object]", zmq.backend.Socket.send)
_receive_frame = cast("Callable[[object, int, bool], zmq.Frame]", zmq.backend.Socket.recv)
_receive_bytes = cast("Callable[[object, int, bool], bytes]", zmq.backend.Socket.recv)
_get = cast("Callable[[object, int], int]", zmq.backend.Socket.get)
_LAST = int(zmq.NOBLOCK)
_NOT_LAST = int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)


class Credentials(NamedTuple):
    """Who is at the other end of an `ipc://` connection, by the kernel's word (SO_PEERCRED)."""

    uid: int
    gid: int
    pid: int

    @classmethod
    def parse(cls, peer_address: str) -> Credentials:
        """From libzmq's `Peer-Address` of an ipc connection: `HOST:UID:GID:PID`."""
        _, uid, gid, pid = peer_address.rsplit(":", 3)
        return cls(int(uid), int(gid), int(pid))


class _Context(zmq.Context[zmq.Socket[bytes]]):
    """Of which `instance` keeps one for each process, a forked one too; the application's own is left alone."""

    _instance: Any = None


def _ipc_url(path: Path) -> str:
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise InvalidArgument(
            f"{path}: a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes; choose a shorter run directory"
        )
    return f"ipc://{path}"


def _new_socket(kind: int) -> zmq.Socket[bytes]:
    socket = _Context.instance().socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, 0)  # memory is bounded by byte credit, not by counting messages
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_FRAME_BYTES_MAX)
    return socket


def _option(socket: zmq.Socket[bytes], option: int) -> int:
    return _get(socket, option)


def _send(socket: zmq.Socket[bytes], frames: Sequence[bytes | memoryview]) -> None:
    *leading, last = frames
    for frame in leading:
        _send_frame(socket, frame, _NOT_LAST, len(frame) <= _PAYLOAD_COPY_BYTES_MAX)
    _send_frame(socket, last, _LAST, len(last) <= _PAYLOAD_COPY_BYTES_MAX)


def _receive(socket: zmq.Socket[bytes]) -> list[bytes | memoryview]:
    """One message; raises zmq.Again when there is none."""
    frame = _receive_frame(socket, _LAST, False)
    frames: list[bytes | memoryview] = [frame.bytes]
    while frame.more:
        frame = _receive_frame(socket, _LAST, False)
        frames.append(frame.bytes if len(frame) <= _RECEIVED_COPY_BYTES_MAX else frame.buffer)
    return frames


class _Drained(abc.ABC):
    """A socket whose messages are handed to a callback by the running loop."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._scheduled = self._draining = False
        self._closed = False
        self._fd = _option(socket, zmq.FD)
        self._loop.add_reader(self._fd, self._drain)
        self._schedule()

    @abc.abstractmethod
    def _take_one(self) -> None:
        """Receive and hand on one message, which is there."""

    def _emptied(self) -> None:  # noqa: B027
        """Nothing more is there."""

    def _schedule(self) -> None:
        if not self._scheduled and not self._closed and not self._loop.is_closed():
            self._scheduled = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        self._draining = True
        try:
            for _ in range(DRAIN_MESSAGES_MAX):
                # Asking costs a tenth of the exception that an empty socket answers with.
                if self._closed:
                    return
                if not _get(self._socket, _EVENTS) & _POLLIN:
                    self._emptied()
                    return
                self._take_one()
        finally:
            self._draining = False
        self._schedule()

    def _send_frames(self, frames: Sequence[bytes | memoryview]) -> None:
        try:
            _send(self._socket, frames)
        finally:
            if not self._draining and not self._scheduled and _get(self._socket, _EVENTS) & _POLLIN:
                self._schedule()  # this send has swallowed the edge, also if it failed

    def close(self) -> None:
        """Stop reading and close; what libzmq has not sent yet gets a moment to go out."""
        if not self._closed:
            self._closed = True
            if not self._loop.is_closed():
                self._loop.remove_reader(self._fd)
            self._socket.close(linger=200)


class ServerEndpoint(_Drained):
    """A ROUTER bound to a socket file.

    *deliver* gets (peer key, frames, credentials); credentials are given only for peers that are not in *known*,
    since looking them up costs more than the message.  *emptied* is called whenever nothing more is there: who is known
    to have closed its connection by then (`send` returned False) has no word left on the way.
    """

    def __init__(
        self,
        path: Path,
        deliver: Callable[[bytes, list[bytes | memoryview], Credentials | None], None],
        known: Callable[[bytes], bool],
        mode: int = PRIVATE_SOCKET_MODE,
        emptied: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self._deliver = deliver
        self._known = known
        self._when_empty = emptied
        socket = _new_socket(zmq.ROUTER)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # or nobody would learn that a peer is gone
        before = os.umask(0o777 & ~mode)
        try:
            socket.bind(_ipc_url(path))
        except zmq.ZMQError as error:
            socket.close()
            raise OperationFailed(f"{path}: cannot serve here: {error}") from None
        finally:
            os.umask(before)
        super().__init__(socket)

    def _take_one(self) -> None:
        socket = self._socket
        # The first frame is the identity that a ROUTER puts in front of a message, which has a frame at least.
        peer = _receive_bytes(socket, _LAST, True)
        if self._known(peer):
            self._deliver(peer, _receive(socket), None)
            return
        frames: list[bytes | memoryview] = []
        credentials = None
        more = True
        while more:
            frame = _receive_frame(socket, _LAST, False)
            if credentials is None:
                with contextlib.suppress(zmq.ZMQError, ValueError):
                    credentials = Credentials.parse(str(frame.get("Peer-Address")))
            frames.append(frame.bytes)
            more = frame.more
        if credentials is not None:
            self._deliver(peer, frames, credentials)

    def _emptied(self) -> None:
        self._when_empty()

    def look(self) -> None:
        """Take what is there, in the next turn of the loop; *emptied* is called afterwards even if there is nothing."""
        self._schedule()

    def send(self, peer: bytes, frames: Sequence[bytes | memoryview]) -> bool:
        """Queue a message for *peer*; returns False if that has closed its connection."""
        try:
            self._send_frames((peer, *frames))
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(self.path.stat().st_mode):
                self.path.unlink()


class ClientEndpoint(_Drained):
    """A DEALER connected to a socket file, drained by the running loop."""

    def __init__(self, path: Path, deliver: Callable[[list[bytes | memoryview]], None]) -> None:
        self._deliver = deliver
        socket = _new_socket(zmq.DEALER)
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        socket.connect(_ipc_url(path))
        super().__init__(socket)

    def _take_one(self) -> None:
        self._deliver(_receive(self._socket))

    def send(self, frames: Sequence[bytes | memoryview]) -> None:
        """Queue a message for the server."""
        self._send_frames(frames)


class BlockingEndpoint:
    """A DEALER for programs without a loop."""

    def __init__(self, path: Path) -> None:
        self._socket = _new_socket(zmq.DEALER)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        self._socket.connect(_ipc_url(path))

    def send(self, frames: Sequence[bytes | memoryview]) -> None:
        """Queue a message for the server."""
        _send(self._socket, frames)

    def take(self) -> list[bytes | memoryview] | None:
        """One message, or None when none is waiting."""
        return _receive(self._socket) if self.readable() else None

    def readable(self) -> bool:
        """Whether `take` would return a message."""
        return bool(_option(self._socket, _EVENTS) & _POLLIN)

    def wait(self, timeout: float | None, also: Iterable[int] = ()) -> set[int]:
        """Wait at most *timeout* seconds for a message or for one of the descriptors *also*.

        Returns the ready descriptors of *also*; whether a message is there is what `take` tells.
        """
        if self.readable():
            return set()
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        for fd in also:
            poller.register(fd, zmq.POLLIN)
        ready = poller.poll(None if timeout is None else max(0, int(timeout * 1000 + 0.999)))
        return {fd for fd, _ in ready if isinstance(fd, int)}

    def fileno(self) -> int:
        """The socket's edge-triggered descriptor, for select and friends."""
        return _option(self._socket, zmq.FD)

    def close(self) -> None:
        """Close; what libzmq has not sent yet gets a moment to go out."""
        self._socket.close(linger=200)


def open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when process *pid* ends; None where that process is not visible."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def require_socket(path: Path, what: str) -> None:
    """Refuse early, and in words, to talk to a service whose socket does not exist.

    Raises:
        ConnectionLost: nothing serves at *path*.
        AccessDenied: this user may not even look there.
    """
    if os.fspath(path).startswith("@"):
        return  # the abstract name space of unix(7) has no files
    try:
        path.stat()
    except PermissionError:
        uid = os.geteuid()
        raise AccessDenied(
            f"user {uid} may not use {what}: {path.parent} is closed to others; "
            f"`uidgid {{ uid: {uid} }}` in the configuration would open it"
        ) from None
    except OSError:
        raise ConnectionLost(f"{what} is not running here: no socket {path} (is the run directory right?)") from None
