"""A descriptor that is readable when a group has something to read.

ZeroMQ's own descriptor is edge-triggered and says nothing of events that the client has queued already.  So what is
handed out is an epoll descriptor over three things: that one, the service's pidfd, and an eventfd that is kept readable
while events are queued here or the edge may have been swallowed.
"""

from __future__ import annotations

import contextlib
import os
import select


class Readiness:
    """One group's descriptor, for select, poll, epoll and event loops."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._flag = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._raised = False
        self._watched: tuple[int, ...] = ()
        self._generation = -1
        self._epoll.register(self._flag, select.EPOLLIN)

    def fileno(self) -> int:
        """The descriptor; it stays the same."""
        return self._epoll.fileno()

    def update(self, generation: int, descriptors: tuple[int, ...], ready: bool) -> None:
        """Watch these descriptors of the connection, and be readable at once if *ready*.

        *generation* changes with the descriptors: their numbers may be the same when they are not.
        """
        if generation != self._generation:
            for fd in self._watched:
                with contextlib.suppress(OSError):  # one that is closed has left the epoll by itself
                    self._epoll.unregister(fd)
            for fd in descriptors:
                self._epoll.register(fd, select.EPOLLIN)
            self._generation, self._watched = generation, descriptors
        if ready != self._raised:
            self._raised = ready
            if ready:
                os.eventfd_write(self._flag, 1)
            else:
                os.eventfd_read(self._flag)

    def close(self) -> None:
        """Give the descriptors back."""
        self._epoll.close()
        with contextlib.suppress(OSError):
            os.close(self._flag)
