"""How long to wait for an answer to a hello before it is said again."""

from __future__ import annotations

import random

HELLO_AGAIN_SECONDS = 0.5
"""How long the first hello may go unanswered before it is said again; each further one twice as long."""

HELLO_AGAIN_SECONDS_MAX = 10.0
"""The longest of these waits.  A server that was away is not waited for so long: the hello lies in the socket, which
hands it over as soon as somebody serves there.  One that refused us, or hangs, need not be asked more often."""

HELLOS_OF_A_CONNECTION_MAX = 16
"""Hellos that are said on one connection before it is given up for a new one.  They all lie in the socket while nobody
serves there, and the server answers only the first that it reads; the others say nothing new.  A new connection for
each would be worse: one that was given up delivers its hello late, and so takes the place of its successor."""

HELLO_AGAIN_JITTER = 0.2
"""Every wait is shortened by a random share of itself, at most this, so that many clients do not ask all at once."""


class Patience:
    """The waits of one connection."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = random.Random() if chance is None else chance
        self._attempts = 0
        self._said = 0

    @property
    def has_worn_out(self) -> bool:
        """Whether so many hellos lie in this connection that the next one should be said on a new one."""
        return self._said >= HELLOS_OF_A_CONNECTION_MAX

    def begin(self) -> None:
        """The hello that is said next is the first of its connection."""
        self._said = 0

    def next_wait(self) -> float:
        """Seconds until the hello that is said now counts as unanswered."""
        wait = min(HELLO_AGAIN_SECONDS_MAX, HELLO_AGAIN_SECONDS * (1 << self._attempts))
        if wait < HELLO_AGAIN_SECONDS_MAX:
            self._attempts += 1
        self._said += 1
        return wait * (1 - HELLO_AGAIN_JITTER * self._chance.random())

    def restore(self) -> None:
        """Somebody has let us in, or there is a new server: begin with the shortest wait again."""
        self._attempts = 0
