"""Everybody's applications, as their nodes tell them.  Pure.

A node tells all of its applications when somebody joins the group, and what has changed from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ...ipc.ids import Address
from ...ipc.messages.control import AppInfo
from .messages import APPS_PER_MESSAGE_MAX, Apps, SharedApp

APPS_OF_NODE_MAX = 5_000
"""Applications of one node that others are told of; the first by name."""

_WORD_LENGTH_MAX = 32


class Roll:
    """One node's view of all others' applications, and what the others know of its own."""

    def __init__(self) -> None:
        self._of: dict[Address, dict[str, SharedApp]] = {}
        self._told: dict[str, SharedApp] | None = None

    def become(self, members: Iterable[Address]) -> None:
        """The membership changed: what runs on nodes that are gone is not known any more; who came is to be told."""
        members = set(members)
        if not members <= self._of.keys():
            self._told = None
        self._of = {each: self._of.get(each, {}) for each in members}

    def tell(self, apps: Iterable[AppInfo], fences: Mapping[str, int]) -> Iterator[Apps]:
        """What the others have to be told about this node's applications; *fences* of those that run as singletons."""
        now = {app.name: _shared(app, fences.get(app.name, 0)) for app in apps}
        now = dict(sorted(now.items())[:APPS_OF_NODE_MAX])
        first, before = self._told is None, self._told or {}
        changed = [app for name, app in now.items() if before.get(name) != app]
        gone = [name for name in before if name not in now]
        self._told = now
        if not (first or changed or gone):
            return
        for at in range(0, max(len(changed), len(gone), 1), APPS_PER_MESSAGE_MAX):
            end = at + APPS_PER_MESSAGE_MAX
            yield Apps(first and at == 0, tuple(changed[at:end]), tuple(gone[at:end]))

    def deliver(self, sender: Address, message: Apps) -> None:
        """A member tells of its applications; a copy of one's own words is no news."""
        if sender not in self._of:
            return
        apps = self._of[sender] = {} if message.first else self._of[sender]
        for name in message.gone:
            apps.pop(name, None)
        for app in message.apps:
            if app.name in apps or len(apps) < APPS_OF_NODE_MAX:
                apps[app.name] = app

    def of_others(self, node_id: int) -> list[AppInfo]:
        """The applications of all other nodes."""
        return [
            AppInfo(app.name, address.node_id, app.pid, app.state, app.instance, app.policy)
            for address, apps in self._of.items()
            if address.node_id != node_id
            for app in apps.values()
        ]


def by_name(apps: Iterable[AppInfo]) -> tuple[AppInfo, ...]:
    """In the order of the lists that people see: by name, then by node."""
    return tuple(sorted(apps, key=lambda app: (app.name, app.node_id)))


def _shared(app: AppInfo, fence: int) -> SharedApp:
    state, policy = app.state[:_WORD_LENGTH_MAX], app.policy[:_WORD_LENGTH_MAX]
    return SharedApp(app.name, app.pid, state, app.instance, policy, fence)
