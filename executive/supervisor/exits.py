"""The exit codes of `totemd`, which scripts and unit files rely on; numbers above 3 are corosync's."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """How `totemd` ended."""

    DONE = 0, "stopped as asked (SIGTERM, SIGINT, SIGQUIT, totemctl shutdown), or -t found nothing wrong"
    CONFIGURATION = 2, "the command line, the configuration or the cluster key cannot be used"
    PRIVILEGES = 3, "runs setuid or setgid"
    LOGGING = 7, "the log file cannot be opened"
    FAILED = 15, "a child ended too often, or the control socket cannot be served, or standard output not be written"
    RUN_DIRECTORY = 16, "the run directory is missing, belongs to somebody else, or is open to everybody"
    PID_FILE = 17, "the pid file cannot be written or locked"
    ALREADY_RUNNING = 18, "another totemd runs in this run directory"
    CHILD_FAILED = 20, "a child said that starting it again would not help"

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """An integer that knows what it means."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member
