"""One application of the keeper: what is declared of it, what runs of it, and where that stands for the others."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ...executive.config.model import AppEntry
from ...ipc.messages.keeper import KeptApp
from ...ipc.messages.sam import AppState, Limits, Progress
from ..supervision import Supervised
from .plan import Phase, Standing, runs_alike

_PHASES = {
    AppState.WAITING: Phase.RISING,
    AppState.STARTING: Phase.RISING,
    AppState.UNREADY: Phase.RISING,
    AppState.CLEARING: Phase.RISING,
    AppState.BACKOFF: Phase.RISING,
    AppState.RUNNING: Phase.UP,
    AppState.FROZEN: Phase.UP,
    AppState.SUSPENDED: Phase.UP,
    AppState.WARNED: Phase.UP,
    AppState.STOPPING: Phase.FALLING,
    AppState.FATAL: Phase.GIVEN_UP,
}
"""What the states of a life mean to those who wait for it."""


@dataclass(slots=True)
class App:
    """One application.  `Keeper` alone changes it."""

    entry: AppEntry
    """What runs, or would."""
    declared: AppEntry | None
    """What the configuration says now; None: nothing any more."""
    is_wanted: bool
    supervised: Supervised | None = None
    """None: nothing of it has run since it was declared as it is."""
    outcome: Phase = Phase.DOWN
    """Why nothing of it runs."""
    detail: str = ""
    instances: int = 0
    """How many there were before `supervised`."""
    restarts: int = 0
    is_restarting: bool = False
    """Somebody wants another instance though this one is well."""
    is_told_to_end: bool = False
    is_adopted: bool = False
    since: float = 0.0
    shown: tuple[AppState, int] | None = None
    """State and instance that `since` is about."""
    waits: tuple[str, ...] = ()

    @property
    def phase(self) -> Phase:
        """Where it stands, as far as the others are concerned."""
        if self.supervised is None:
            return self.outcome
        return _PHASES.get(self.supervised.progress.state, self.outcome)

    @property
    def is_outdated(self) -> bool:
        """What runs has to end: it is not what is declared, or is not wanted as it is."""
        return self.is_restarting or self.declared is None or not runs_alike(self.entry, self.declared)

    @property
    def standing(self) -> Standing:
        """For the plan."""
        return Standing(self.entry, self.phase, self.is_wanted and self.declared is not None, self.is_outdated)

    @property
    def progress(self) -> Progress:
        """For everybody else."""
        progress = (
            Progress(AppState.STOPPED, self.instances, 0) if self.supervised is None else self.supervised.progress
        )
        if self.phase is Phase.DOWN and self.waits:
            return Progress(AppState.WAITING, progress.instance, 0, f"waits for {', '.join(self.waits)}")
        if self.phase is Phase.GIVEN_UP and progress.state is AppState.STOPPED:
            return Progress(AppState.FATAL, progress.instance, 0, progress.detail or self.detail)
        return progress

    def note_turn(self) -> None:
        """Remember since when it is as it is."""
        progress = self.progress
        if self.shown != (progress.state, progress.instance):
            self.shown, self.since = (progress.state, progress.instance), time.time()


def in_full(app: App, policy: str, interval_ms: int, log: str, limits: Limits) -> KeptApp:
    """All that can be told about an application."""
    entry = app.declared or app.entry
    return KeptApp(
        name=entry.name,
        limits=limits,
        progress=app.progress,
        policy=policy,
        interval_ms=interval_ms,
        command=entry.command,
        options={key: texts for key, texts in entry.options.items() if key not in HIDDEN},
        groups=entry.groups,
        after=entry.after,
        requires=entry.requires,
        autostart=entry.autostart,
        is_wanted=app.is_wanted,
        waits_for=app.waits,
        since=app.since,
        restarts=app.restarts,
        log=log,
        is_adopted=app.is_adopted,
    )


HIDDEN = frozenset({"env"})
"""Options whose values are not told: they often hold passwords."""
