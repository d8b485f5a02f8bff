"""Whether the resources that cmap shows as `resources.*` are well: of the machine, and of applications.  Pure.

What corosync's services `mon` and `wd` do: every resource with a state is checked in its own period.  It has failed if
its state says so, if an application that runs has given no sign of life for too long, or if a figure of the machine is
above its limit.  What follows is the resource's `recovery`.  Times are seconds of the monotonic clock.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ..ipc.messages.sam import Resource, ResourceState

PERIOD_MS_MIN, PERIOD_MS_MAX = 500, 120_000
"""A resource's `poll_period` is the period of its checks if it lies between these."""

PERIOD_MS_OTHERWISE = 6000
"""The period of checks where `poll_period` is none of those."""

FIRST_CHECK_SECONDS = 6.0
"""No resource is judged sooner after it has appeared."""

OVERDUE_FACTOR = 1.5
"""An application that runs and gave no sign of life for so many times its `poll_period` has failed."""

PUBLISHING_SECONDS = 1.0
"""So much older may a sign of life look than it is, because not every one is published."""

PROCESS_PREFIX = "resources.process."
SYSTEM_PREFIX = "resources.system."


class Act(enum.Enum):
    """What follows from a failure."""

    LOG = "it is said, no more"
    STARVE = "the watchdog device is fed no more, so that the machine is reset"
    REBOOT = "the machine is restarted"
    SHUTDOWN = "the node leaves and ends"


ACTS = {"watchdog": Act.STARVE, "quit": Act.STARVE, "reboot": Act.REBOOT, "shutdown": Act.SHUTDOWN}
"""By `recovery`; everything else is said only."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is configured about one figure of the machine."""

    maximum: float | None
    """Above it the resource has failed; None: it is shown only."""
    poll_period: int
    """Milliseconds."""
    recovery: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A resource has failed, or is well again."""

    name: str
    """Its key without the last word: `resources.process.4711`."""
    failed: bool
    act: Act = Act.LOG
    strange_period: int | None = None
    """Nothing has changed, but this `poll_period` could not be used."""


@dataclass(slots=True)
class _Check:
    """When a resource is checked next, and what the last check has found."""

    at: float
    failed: bool = False


@dataclass(slots=True)
class _Figure:
    """A figure of the machine."""

    rule: Rule
    measure_at: float
    value: float | None = None
    measured_at: float = 0.0

    @property
    def state(self) -> ResourceState:
        if self.rule.maximum is None or self.value is None:
            return ResourceState.STOPPED
        return ResourceState.FAILED if self.value > self.rule.maximum else ResourceState.RUNNING


@dataclass(slots=True)
class Monitor:
    """All resources of one node."""

    processes: Callable[[], Mapping[str, Resource]]
    """The applications that are shown, by the third word of their keys."""
    _figures: dict[str, _Figure] = field(default_factory=dict)
    _checks: dict[str, _Check] = field(default_factory=dict)

    def configure(self, rules: Mapping[str, Rule], now: float) -> None:
        """Take over what is configured; a period that has changed holds from now on."""
        for name, rule in rules.items():
            known = self._figures.get(name)
            if known is None or known.rule.poll_period != rule.poll_period:
                self._figures[name] = _Figure(rule, now, known.value if known else None)
            else:
                known.rule = rule

    def expire(self, now: float, measure: Callable[[str], float]) -> list[Finding]:
        """Measure what is due, and check what is due."""
        for name, figure in self._figures.items():
            if figure.measure_at <= now:
                figure.value, figure.measured_at = measure(name), now
                figure.measure_at = now + figure.rule.poll_period / 1000
        return list(self._check_all(now))

    def next_deadline(self, now: float) -> float:
        """When `expire` is to be called next; new applications are noticed by then."""
        times = [figure.measure_at for figure in self._figures.values()]
        times += [check.at for check in self._checks.values()]
        return max(now, min([*times, now + PERIOD_MS_OTHERWISE / 1000]))

    def shown(self) -> dict[str, str | int]:
        """What cmap shows, by key."""
        shown: dict[str, str | int] = {}
        for name, figure in self._figures.items():
            if figure.value is not None:
                shown[f"{SYSTEM_PREFIX}{name}.current"] = figure_text(figure.value)
                shown[f"{SYSTEM_PREFIX}{name}.last_updated"] = int(figure.measured_at * 1e9)
                shown[f"{SYSTEM_PREFIX}{name}.state"] = figure.state.value
        for pid, process in self.processes().items():
            shown[f"{PROCESS_PREFIX}{pid}.recovery"] = process.recovery
            shown[f"{PROCESS_PREFIX}{pid}.poll_period"] = process.poll_period
            shown[f"{PROCESS_PREFIX}{pid}.last_updated"] = process.last_updated
            shown[f"{PROCESS_PREFIX}{pid}.state"] = process.state.value
        return shown

    def _check_all(self, now: float) -> Iterator[Finding]:
        resources = self._resources(now)
        self._checks = {name: check for name, check in self._checks.items() if name in resources}  # deleted: forgotten
        for name, (poll_period, recovery, has_failed) in resources.items():
            period = check_period(poll_period)
            check = self._checks.get(name)
            if check is None:
                self._checks[name] = _Check(now + max(2 * period, FIRST_CHECK_SECONDS))
                if period * 1000 != poll_period and poll_period:
                    yield Finding(name, failed=False, strange_period=poll_period)
            elif check.at <= now:
                check.at = now + period
                if check.failed != has_failed:
                    check.failed = has_failed
                    yield Finding(name, has_failed, ACTS.get(recovery, Act.LOG) if has_failed else Act.LOG)
            else:
                check.at = min(check.at, now + max(2 * period, FIRST_CHECK_SECONDS))  # the period has become shorter

    def _resources(self, now: float) -> dict[str, tuple[int, str, bool]]:
        """Every resource with a state: period, recovery, and whether it has failed."""
        found = {}
        for name, figure in self._figures.items():
            if figure.rule.maximum is not None:
                failed = figure.state is ResourceState.FAILED
                found[SYSTEM_PREFIX + name] = (figure.rule.poll_period, figure.rule.recovery, failed)
        for pid, process in self.processes().items():
            found[PROCESS_PREFIX + pid] = (process.poll_period, process.recovery, has_failed(process, now))
        return found


def has_failed(process: Resource, now: float) -> bool:
    """Whether an application has."""
    if process.state is not ResourceState.RUNNING:
        return process.state is ResourceState.FAILED
    age = now - process.last_updated / 1e9
    interval = process.poll_period / 1000
    return interval > 0 and age > max(OVERDUE_FACTOR * interval, interval + PUBLISHING_SECONDS)


def check_period(poll_period: int) -> float:
    """Seconds between two checks of a resource."""
    usable = PERIOD_MS_MIN <= poll_period <= PERIOD_MS_MAX
    return (poll_period if usable else PERIOD_MS_OTHERWISE) / 1000


def figure_text(value: float) -> str | int:
    """A figure as cmap has it: whole numbers as numbers, others as text."""
    return int(value) if value == int(value) else f"{value:.2f}"
