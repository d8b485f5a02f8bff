"""Who may connect to a service's socket: its owner, root, and whom the `uidgid` rules name.

The run directory is the first fence: without rules it is closed to others, and so is the executive's socket.  Behind it
anybody may knock, and the kernel's word on who knocks (SO_PEERCRED) decides; so a reload needs to change no socket of
cpg, quorum or sam.
"""

from __future__ import annotations

import os

from ...ipc.endpoints import PRIVATE_SOCKET_MODE, SHARED_SOCKET_MODE, Credentials
from ...ipc.errors import AccessDenied
from ..config.model import AccessRules
from .logging import Logger, RateLimited

DENIALS_LOGGED = 5
DENIALS_LOGGED_SECONDS = 10.0
"""At most so many lines in so many seconds about users who are not let in."""


def socket_mode(rules: AccessRules) -> int:
    """Permission bits for the executive's socket; cpg, quorum and sam let everybody knock, and log refusals."""
    return SHARED_SOCKET_MODE if rules.uids or rules.gids else PRIVATE_SOCKET_MODE


def is_owner(uid: int) -> bool:
    """Whether this is root, or the user as whom this process runs."""
    return uid in (0, os.geteuid())


class Gate:
    """The `uidgid` rules of one socket; `rules` may be replaced after a reload."""

    def __init__(self, rules: AccessRules, log: Logger) -> None:
        self.rules = rules
        self._log = log
        self._denials = RateLimited(DENIALS_LOGGED_SECONDS, DENIALS_LOGGED)

    def require(self, who: Credentials, now: float) -> None:
        """Let a connection in, or not.

        Raises:
            AccessDenied: neither the owner nor named by a rule; logged in corosync's words.
        """
        if is_owner(who.uid) or self.rules.allow(who.uid, who.gid):
            return
        if (unsaid := self._denials.admit(now)) is not None:
            more = {"unsaid": unsaid} if unsaid else {}
            self._log.err(f"Denied connection attempt from {who.uid}:{who.gid}", pid=who.pid, **more)
        raise AccessDenied(
            f"user {who.uid} (group {who.gid}) may not connect; "
            f"`uidgid {{ uid: {who.uid} }}` in the configuration would allow it"
        )
