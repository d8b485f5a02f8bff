"""A group in which something always happens, without a process, a socket or a load.

Its one member sees its own messages at once, and between them, without end, those of somebody who is no replica.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from cpgkit import DEADLINE
from totemd import Address, ConfigChange, Event, Guarantee, Member, Message, Reason

ME = Address(1, 7)
SILENT = Address(2, 7)
"""May be a member; it never says what a replica would."""


class BusyGroup:
    """What `Replica` needs of a `Group`."""

    def __init__(self, *others: Address) -> None:
        self.address = ME
        self.absences = 0
        self.is_left = False
        self.loses = False
        """What is sent now never arrives."""
        self.on_event: Callable[[], None] = lambda: None
        members = tuple(Member(*each, Reason.JOIN) for each in (ME, *others))
        self._own: deque[Event] = deque([ConfigChange(members, members, (), "busy")])
        self._end = time.monotonic() + DEADLINE

    def mcast(self, payload: bytes, guarantee: Guarantee, *, wait: bool) -> None:
        if not self.loses:
            self._own.append(Message(ME, payload, "busy", guarantee))

    def receive(self, timeout: float | None = None) -> Event:
        assert time.monotonic() < self._end, "it goes on and on"
        self.on_event()
        return self._own.popleft() if self._own else Message(SILENT, b"no replica's", "busy", Guarantee.AGREED)

    def leave(self, timeout: float | None = None) -> None:
        self.is_left = True

    def __exit__(self, *_: object) -> None:
        self.leave()


class BusyClient:
    """What `Replica` needs of a `Client`."""

    def __init__(self, *others: Address) -> None:
        self.address = ME
        self.group = BusyGroup(*others)

    def join(self, name: str | bytes, *, timeout: float | None = None) -> Any:
        return self.group

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        yield
