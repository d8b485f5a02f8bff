"""Looks after the resources of a node: measures, feeds the watchdog device, and does what a failure asks for."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from typing import assert_never

import psutil

from ..executive.config.model import ResourceOptions, WatchedOptions
from ..executive.runtime.logging import Logger
from ..ipc.messages.sam import Resource
from .linux import reboot_machine
from .monitor import Act, Finding, Monitor, Rule
from .watchdog import Watchdog

DEVICE_OFF = "off"
"""The value of `resources.watchdog_device` for none."""


class Warden:
    """The shell of `Monitor`."""

    def __init__(
        self,
        log: Logger,
        processes: Callable[[], Mapping[str, Resource]],
        acts: Mapping[Act, Callable[[], None]] | None = None,
    ) -> None:
        """*acts* may put something else in the place of what would end the node or the machine."""
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._monitor = Monitor(processes)
        self._acts = {Act.REBOOT: reboot_machine, Act.SHUTDOWN: end_the_executive, **(acts or {})}
        self._dog: Watchdog | None = None
        self._device, self._timeout = DEVICE_OFF, 0
        self._timer = self._loop.call_later(0, self._expire)
        self._feeding: asyncio.TimerHandle | None = None

    def configure(self, options: ResourceOptions) -> None:
        """Take over the options, at the start or by a reload."""
        rules = {"memory_used": _rule(options.memory_used), "load_15min": _rule(options.load_15min)}
        self._monitor.configure(rules, self._loop.time())
        if (options.watchdog_device, options.watchdog_timeout) != (self._device, self._timeout):
            self._device, self._timeout = options.watchdog_device, options.watchdog_timeout
            self._arm()
        self._again()

    def keys(self) -> dict[str, str | int]:
        """What cmap shows."""
        return self._monitor.shown()

    def look(self) -> None:
        """There is something new to look at."""
        self._expire()

    def close(self, *, cleanly: bool) -> None:
        """Stop.  Unless the node ends *cleanly* an armed device stays armed: somebody else has to feed it in time."""
        self._timer.cancel()
        self._stop_feeding()
        if self._dog is not None:
            if cleanly:
                self._dog.disarm()
            else:
                self._dog.abandon()
            self._dog = None

    # -- looking

    def _again(self) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_at(self._monitor.next_deadline(self._loop.time()), self._expire)

    def _expire(self) -> None:
        for finding in self._monitor.expire(self._loop.time(), measure):
            self._tell(finding)
        self._again()

    def _tell(self, finding: Finding) -> None:
        name = finding.name.removeprefix("resources.")
        if finding.strange_period is not None:
            self._log.notice(f'Could NOT use poll_period: {finding.strange_period} ms for resource "{name}"')
        elif not finding.failed:
            self._log.notice(f'resource "{name}" is well again')
        else:
            self._log.crit(f'resource "{name}" failed!')
            self._act(finding.act)

    def _act(self, act: Act) -> None:
        match act:
            case Act.LOG:
                pass
            case Act.STARVE:
                if self._dog is not None:
                    self._log.crit("the watchdog device is fed no more: the machine will be reset")
                    self._dog.starve()
            case Act.REBOOT | Act.SHUTDOWN:
                self._log.crit("a resource that failed asks for it", recovery=act.name.lower())
                self._acts[act]()
            case _:
                assert_never(act)

    # -- the watchdog device

    def _arm(self) -> None:
        self._stop_feeding()
        if self._dog is not None:
            self._dog.disarm()
            self._dog = None
        if self._device == DEVICE_OFF:
            return
        try:
            self._dog = Watchdog(self._device, self._timeout)
        except OSError as error:
            self._log.warning(
                "there is no watchdog: nothing resets the machine", device=self._device, reason=str(error)
            )
            return
        if not self._dog.takes_timeout:
            self._log.warning("the watchdog keeps its own timeout", device=self._device, wanted=self._timeout)
        self._feed()

    def _feed(self) -> None:
        if self._dog is None:
            return
        try:
            self._dog.feed()
        except OSError as error:
            self._log.err("the watchdog device cannot be fed", device=self._device, reason=str(error))
        self._feeding = self._loop.call_later(self._timeout / 2, self._feed)

    def _stop_feeding(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
            self._feeding = None


def measure(name: str) -> float:
    """A figure of this machine: memory in use, in percent; the load average of a quarter of an hour."""
    if name == "memory_used":
        return float(round(psutil.virtual_memory().percent))
    return os.getloadavg()[2]


def _rule(options: WatchedOptions) -> Rule:
    return Rule(None if options.max is None else float(options.max), options.poll_period, options.recovery)


def end_the_executive() -> None:
    """Have the node leave and end, as SIGTERM does."""
    os.kill(os.getppid(), signal.SIGTERM)
