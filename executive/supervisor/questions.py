"""What the executive asks its children on behalf of totemctl: numbered, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from ...ipc.errors import TryAgain
from ...ipc.messages.common import Refused

QUESTION_SECONDS = 2.0
"""How long a child may take to answer; well below what a person at totemctl waits."""


class Questions:
    """The questions that wait for their answer."""

    def __init__(self, send: Callable[[str, msgspec.Struct], bool]) -> None:
        """*send* hands a message to a child and says whether it is connected."""
        self._send = send
        self._waiting: dict[int, tuple[str, asyncio.Future[Any]]] = {}
        self._last = 0

    async def ask(self, child: str, question: Callable[[int], msgspec.Struct]) -> Any:
        """The child's answer to `question(number)`.

        Raises:
            TryAgain: the child is not connected, went away, or did not answer in time.
            TotemdError: the child refused.
        """
        self._last += 1
        number = self._last
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self._send(child, question(number)):
            raise TryAgain(f"the {child} process is not running at the moment")
        self._waiting[number] = child, future
        try:
            return await asyncio.wait_for(future, QUESTION_SECONDS)
        except TimeoutError:
            raise TryAgain(f"the {child} process did not answer within {QUESTION_SECONDS:g} s") from None
        finally:
            del self._waiting[number]

    def answered(self, child: str, answer: Any) -> None:
        """An answer (or `Refused`) came; late and strange ones are dropped."""
        asked, future = self._waiting.get(answer.request, ("", None))
        if future is None or asked != child or future.done():
            return
        if isinstance(answer, Refused):
            future.set_exception(answer.exception())
        else:
            future.set_result(answer)

    def gone(self, child: str) -> None:
        """A child ended; nobody shall wait for it."""
        for asked, future in self._waiting.values():
            if asked == child and not future.done():
                future.set_exception(TryAgain(f"the {child} process ended before it answered"))
