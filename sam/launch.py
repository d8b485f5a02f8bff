"""How an application's main process is started: what, as whom, where, with which limits and descriptors.

Where the kernel's spawn can do it (a fraction of a millisecond) it does; another user, limits and priority need a fork
of this process, which sets them before it becomes the application (some milliseconds).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

EXIT_FAILED = 125
"""sam-run itself failed, as with env(1) and timeout(1)."""

EXIT_NOT_EXECUTABLE = 126
"""The command was found and cannot be run."""

EXIT_NOT_FOUND = 127
"""There is no such command."""

CHANGED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored by the interpreter, and not meant to be by the application."""

OURS_TO_MEND = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Errors by which this process, or the machine, has too little of something: what is to be started is not to blame."""


class NotStarted(Exception):
    """An instance could not be started."""

    def __init__(self, exit_code: int, reason: str) -> None:
        """*exit_code* is what sam-run exits with if this was the first instance."""
        super().__init__(reason)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Identity:
    """The user and the groups of a process."""

    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Launch:
    """What every instance of an application is started with.  None: as this process."""

    command: tuple[str, ...]
    signal_mask: frozenset[int] = frozenset()
    """The signals that are blocked in it."""
    own_group: bool = False
    """A process group of its own, in the session of this process.  A keeper of several applications, which has no
    terminal, needs that to tell their processes apart (`children.py`).  It takes half the time of a session."""
    own_session: bool = False
    """Away from the keeper's terminal."""
    directory: Path | None = None
    umask: int | None = None
    identity: Identity | None = None
    limits: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """`resource.RLIMIT_…`: soft and hard limit."""
    niceness: int | None = None

    def spawn(self, environment: Mapping[bytes, bytes], descriptors: Mapping[int, int]) -> int:
        """Start it; return its pid.  *descriptors*: number in the application, and ours that it is.

        Raises:
            NotStarted: it cannot be started.
        """
        try:
            with self._surroundings():
                if self.identity is None and self.niceness is None and not self.limits:
                    return self._spawn(environment, descriptors)
                return self._fork(environment, descriptors)
        except OSError as error:  # no descriptor is to be had
            raise NotStarted(EXIT_FAILED, f"{self.command[0]}: {error.strerror}") from None

    def _spawn(self, environment: Mapping[bytes, bytes], descriptors: Mapping[int, int]) -> int:
        group: dict[str, Any] = {"setpgroup": 0} if self.own_group and not self.own_session else {}
        try:
            return os.posix_spawnp(
                self.command[0],
                self.command,
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in descriptors.items()],
                setsid=self.own_session,
                **group,
                setsigmask=self.signal_mask,
                setsigdef=CHANGED_BY_PYTHON,
            )
        except OSError as error:
            raise NotStarted(_exit_code(error), f"{self.command[0]}: {error.strerror}") from None

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[None]:
        """Be where the application shall be, for a moment: this process has one thread that could notice."""
        home = None if self.directory is None else os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if self.directory is not None:
                try:
                    os.chdir(self.directory)
                except OSError as error:
                    raise NotStarted(EXIT_FAILED, f"directory {self.directory}: {error.strerror}") from None
            before = None if self.umask is None else os.umask(self.umask)
            try:
                yield
            finally:
                if before is not None:
                    os.umask(before)
        finally:
            if home is not None:
                os.fchdir(home)
                os.close(home)

    def _fork(self, environment: Mapping[bytes, bytes], descriptors: Mapping[int, int]) -> int:
        """As `_spawn`, with steps that only the new process can take; it reports a failed one through a pipe."""
        report, end = os.pipe()
        try:
            pid = os.fork()
            if pid == 0:
                self._become(environment, descriptors, end)
        except OSError as error:
            os.close(report)
            raise NotStarted(EXIT_FAILED, f"fork: {error.strerror}") from None
        finally:
            os.close(end)
        with open(report, "rb") as file:
            problem = file.read()
        if not problem:
            return pid
        os.waitid(os.P_PID, pid, os.WEXITED)
        (code,), reason = _EXIT_CODE.unpack_from(problem), problem[_EXIT_CODE.size :].decode(errors="replace")
        raise NotStarted(code, reason)

    def _become(self, environment: Mapping[bytes, bytes], descriptors: Mapping[int, int], report: int) -> NoReturn:
        """Runs in the new process, and never comes back."""
        step, code = "start", EXIT_FAILED
        try:
            if self.own_session:
                os.setsid()
            elif self.own_group:
                os.setpgid(0, 0)
            step = "limits"
            for which, limits in self.limits.items():
                resource.setrlimit(which, limits)
            if self.niceness is not None:
                step = "priority"
                os.setpriority(os.PRIO_PROCESS, 0, self.niceness)
            if self.identity is not None:
                step = f"become user {self.identity.uid}, group {self.identity.gid}"
                os.setgroups(self.identity.groups)
                os.setresgid(self.identity.gid, self.identity.gid, self.identity.gid)
                os.setresuid(self.identity.uid, self.identity.uid, self.identity.uid)
            step = "descriptors"
            report = _place(descriptors, report)
            for number in CHANGED_BY_PYTHON:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, self.signal_mask)
            step = self.command[0]
            _exec(self.command, environment)
        except (OSError, ValueError) as error:
            code = _exit_code(error) if isinstance(error, OSError) and step == self.command[0] else EXIT_FAILED
            problem = error.strerror if isinstance(error, OSError) else str(error)
            os.write(report, _EXIT_CODE.pack(code) + f"{step}: {problem}".encode())
        finally:
            os._exit(EXIT_FAILED)


_EXIT_CODE = struct.Struct("=B")


def _place(descriptors: Mapping[int, int], report: int) -> int:
    """Give *descriptors* their numbers; return where *report* is now."""
    free = max([*descriptors, *descriptors.values(), report]) + 1
    moved: dict[int, int] = {}
    for offset, (theirs, ours) in enumerate(descriptors.items()):
        moved[theirs] = os.dup2(ours, free + offset, inheritable=False)
    report = os.dup2(report, free + len(moved), inheritable=False)
    for theirs, ours in moved.items():
        os.dup2(ours, theirs)
    return report


def _exec(command: tuple[str, ...], environment: Mapping[bytes, bytes]) -> None:
    """As execvp(3): the program is looked for in this process's PATH, as posix_spawnp does."""
    program = command[0]
    if "/" in program:
        os.execve(program, command, environment)
    denied: OSError | None = None
    for folder in os.get_exec_path():
        try:
            os.execve(os.path.join(folder or ".", program), command, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            denied = error
    raise denied or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _exit_code(error: OSError) -> int:
    if isinstance(error, FileNotFoundError):
        return EXIT_NOT_FOUND
    return EXIT_FAILED if error.errno in OURS_TO_MEND else EXIT_NOT_EXECUTABLE
