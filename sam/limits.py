"""Whether an application uses more than it may: judged from samples of all its processes.  Pure.

Memory, files and threads must be too many at every sample of a whole window; processor time counts by its average over
the window.  So a short peak is no failure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from ..ipc.messages.sam import Limits

SAMPLES_PER_WINDOW = 4

SAMPLE_SECONDS_MIN = 0.5
SAMPLE_SECONDS_MAX = 10.0
"""Between these is the time from one sample to the next."""

ProcessKey = tuple[int, int]
"""Pid and time of creation."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of an application use together at one moment."""

    rss_bytes: int
    threads: int
    open_files: int
    cpu_seconds: Mapping[ProcessKey, float]
    """What each has used so far."""


def sample_seconds(window: float) -> float:
    """How often to take samples for a window."""
    return min(max(window / SAMPLES_PER_WINDOW, SAMPLE_SECONDS_MIN), SAMPLE_SECONDS_MAX)


def is_limited(limits: Limits) -> bool:
    """Whether anything is limited at all."""
    return bool(limits.rss_bytes or limits.cpu_share or limits.open_files or limits.threads)


class LimitJudge:
    """Judges one instance after the other."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._instance = 0
        self._over_since: dict[str, float] = {}
        self._known: Mapping[ProcessKey, float] = {}
        self._used = 0.0
        self._history: deque[tuple[float, float]] = deque()
        """When, and processor time used until then since the first sample; the first is at least a window old."""
        self._seen = False

    def sample(self, instance: int, usage: Usage, now: float) -> str:
        """What is wrong with this instance; empty if nothing is."""
        if instance != self._instance:
            self._instance, self._seen = instance, False
            self._over_since.clear()
            self._history.clear()
        return self._too_much(usage, now) or self._too_busy(usage, now)

    def _too_much(self, usage: Usage, now: float) -> str:
        limits, window = self.limits, self.limits.window_seconds
        problem = ""
        for what, value, limit, shown in (
            ("memory", usage.rss_bytes, limits.rss_bytes, size_text(usage.rss_bytes)),
            ("open files", usage.open_files, limits.open_files, str(usage.open_files)),
            ("threads", usage.threads, limits.threads, str(usage.threads)),
        ):
            if not limit or value <= limit:
                self._over_since.pop(what, None)
            elif now - self._over_since.setdefault(what, now) >= window and not problem:
                most = size_text(limit) if what == "memory" else str(limit)
                problem = f"{what}: {shown}, more than {most} for {window:g} s"
        return problem

    def _too_busy(self, usage: Usage, now: float) -> str:
        limits, window = self.limits, self.limits.window_seconds
        if not limits.cpu_share:
            return ""
        if self._seen:
            self._used += sum(max(0.0, used - self._known.get(key, 0.0)) for key, used in usage.cpu_seconds.items())
        else:
            self._used, self._seen = 0.0, True
        self._known = usage.cpu_seconds
        self._history.append((now, self._used))
        while len(self._history) > 1 and now - self._history[1][0] >= window:
            self._history.popleft()
        began, before = self._history[0]
        if now - began < window:
            return ""
        share = (self._used - before) / (now - began)
        if share <= limits.cpu_share:
            return ""
        return f"processor time: {share:.0%}, more than {limits.cpu_share:.0%} for {window:g} s"


def size_text(size: int) -> str:
    """Bytes for people, in the units of the options."""
    value = float(size)
    for unit in ("", "K", "M", "G"):
        if value < 1024:
            return f"{value:.4g}{unit}"
        value /= 1024
    return f"{value:.4g}T"
