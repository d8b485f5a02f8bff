"""The processes of one application, as their ancestor sees them: start the main one, signal some, kill all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from .children import Children
from .events import Event, NotSpawned, Spawned
from .launch import Launch, NotStarted
from .probe import Probe, Process, kill_all


class Family:
    """All processes of one application."""

    def __init__(
        self, name: str, launch: Launch, children: Children, probe: Probe, happen: Callable[[Event], None]
    ) -> None:
        """*happen* is told what happens to them, from within `Children.reap`."""
        self.name = name
        self.happen = happen
        self._launch = launch
        self._children = children
        self._probe = probe
        self._main = 0
        self._group = 0

    @property
    def main(self) -> int:
        """Pid of the main process; 0 while there is none."""
        return self._main

    @property
    def group(self) -> int:
        """The process group of the last main process; 0 if it shares that of this process."""
        return self._group

    @property
    def exists(self) -> bool:
        """Whether any process of the application has not been reaped."""
        return bool(self._main or self._children.strays(self))

    def start(
        self, environment: Mapping[bytes, bytes], descriptors: Mapping[int, int] | None = None
    ) -> Spawned | NotSpawned:
        """Start the main process; *descriptors* as for `Launch.spawn`."""
        try:
            self._main = self._launch.spawn(environment, descriptors or {})
        except NotStarted as error:
            return NotSpawned(error.exit_code, str(error))
        self._group = self._main if self._launch.own_group or self._launch.own_session else 0
        self._children.has_begun(self, self._main)
        return Spawned(self._main)

    def adopt(self, pid: int) -> Spawned:
        """Go on with a main process that exists, and is no child of this one."""
        self._main = pid
        self._children.has_begun(self, pid)
        return Spawned(pid)

    def ended(self) -> None:
        """The main process has been reaped."""
        self._main = 0

    def dismiss(self) -> None:
        """It is over: no process of it is expected any more."""
        self._children.dismiss(self)

    def signal_main(self, number: int) -> bool:
        """Signal the main process; False if this user may not (it runs as somebody else)."""
        if not self._main:
            return True
        try:
            # Not reaped yet, or it would not be known here any more: so the pid is still its own.
            os.kill(self._main, number)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return True

    def signal_rest(self, number: int) -> None:
        """Signal everything that the main process left behind."""
        for process in self._probe.trees(self._children.strays(self)):
            process.send(number)

    def kill(self) -> None:
        """Kill everything."""
        kill_all(self._everybody)

    def _everybody(self) -> list[Process]:
        return self._probe.trees([*filter(None, [self._main]), *self._children.strays(self)])
