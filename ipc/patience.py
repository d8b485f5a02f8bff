"""How long to wait for an answer to a hello before it is said again."""

from __future__ import annotations

import random

HELLO_AGAIN_SECONDS = 0.5
"""How long the first hello may go unanswered before the connection is made anew; each further one twice as long."""

HELLO_AGAIN_SECONDS_MAX = 10.0
"""The longest of these waits.  A server that was away is not waited for so long: the hello lies in the socket, which
hands it over as soon as somebody serves there.  One that refused us, or hangs, need not be asked more often."""

HELLO_AGAIN_JITTER = 0.2
"""Every wait is shortened by a random share of itself, at most this, so that many clients do not ask all at once."""


class Patience:
    """The waits of one connection."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = random.Random() if chance is None else chance
        self._attempts = 0

    def next_wait(self) -> float:
        """Seconds until the hello that is said now counts as unanswered."""
        wait = min(HELLO_AGAIN_SECONDS_MAX, HELLO_AGAIN_SECONDS * (1 << self._attempts))
        if wait < HELLO_AGAIN_SECONDS_MAX:
            self._attempts += 1
        return wait * (1 - HELLO_AGAIN_JITTER * self._chance.random())

    def restore(self) -> None:
        """Somebody has let us in, or there is a new server: begin with the shortest wait again."""
        self._attempts = 0
