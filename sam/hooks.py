"""Commands that people have run when an application's life takes a turn: one at a time, each for a bounded time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping

from . import environment
from .helper import Helper
from .launch import NotStarted
from .spec import ANY_STATE, Hooks
from .wording import ending_text

WAITING_MAX = 32
"""Turns that wait for earlier hooks; of more than these, the oldest are dropped, and that is said."""


class HookRunner:
    """Runs the hooks of one application."""

    def __init__(self, hooks: Hooks, helper: Helper, say: Callable[[str], None]) -> None:
        self._hooks = hooks
        self._helper = helper
        self._say = say
        self._waiting: deque[tuple[str, Mapping[bytes, bytes]]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._dropped = 0

    def entered(self, state: str, describe: Callable[[], Mapping[bytes, bytes]]) -> None:
        """The application is in another state now; *describe* returns the environment that tells of the turn."""
        for hook in self._hooks.hooks:
            if hook.state not in (state, ANY_STATE):
                continue
            if len(self._waiting) == WAITING_MAX:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append((hook.command, {**describe(), environment.STATE.encode(): state.encode()}))
        if self._waiting and self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())

    async def finish(self) -> None:
        """Let those that wait have their turn, as far as the time of one of them reaches."""
        if self._worker is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._worker, self._hooks.timeout)

    def close(self) -> None:
        """Give up what waits, and kill what runs."""
        self._waiting.clear()
        if self._worker is not None:
            self._worker.cancel()

    async def _work(self) -> None:
        try:
            while self._waiting:
                command, variables = self._waiting.popleft()
                await self._run(command, variables)
            if self._dropped:
                self._say(f"{self._dropped} hooks were dropped: the earlier ones took too long")
                self._dropped = 0
        finally:
            self._worker = None

    async def _run(self, command: str, variables: Mapping[bytes, bytes]) -> None:
        try:
            ending, said = await self._helper.run(command, variables, self._hooks.timeout)
        except NotStarted as error:
            self._say(f"hook {command!r}: {error}")
            return
        if ending is None:
            self._say(f"hook {command!r} took longer than {self._hooks.timeout:g} s and was killed")
        elif ending.exit_code:
            self._say(f"hook {command!r} {ending_text(ending)}{f' ({said})' if said else ''}")
