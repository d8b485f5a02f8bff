"""What a keeper leaves to its successor: which applications there are, and which processes are theirs.

Two files in the run directory, for the owner alone.  `keeper.apps` holds the declarations and is replaced as a whole
when they change.  `keeper.lives` has a slot of fixed length for each application, written in place (one system call,
which SIGKILL cannot cut in half) before and after each start: *starting instance N*, then *instance N is the process
P, created then*.  A successor that finds the first without the second looks for the process by its environment; that
it sees every process that was on its way is what the lock is for, which a half-started process still holds until its
exec.

Nothing is synced to the disk: what the files tell of ends with the machine's own end, and the boot id tells that.
"""

from __future__ import annotations

import contextlib
import enum
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from ...executive.config.model import AppEntry
from ...ipc.errors import OperationFailed
from ...ipc.strict import UNDECODABLE

APPS_FILE = "keeper.apps"
LIVES_FILE = "keeper.lives"

MODE = 0o600

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SLOT = struct.Struct("<QIIdd")
"""Instance, pid, mark, and between which times the process was created."""
SLOT_BYTES = 32
SLOT_MAX = 2**20
APPS_BYTES_MAX = 64 * 1024 * 1024
"""A larger file is not one of ours."""


class Mark(enum.IntEnum):
    """What a slot says."""

    FREE = 0
    """Nothing of the application exists."""
    STARTING = 1
    """A process of it may exist; which one is not known yet."""
    RUNNING = 2
    """The process is known."""
    DONE = 3
    """As FREE; it has done what it was there for."""
    GIVEN_UP = 4
    """As FREE; it has failed for good."""


@dataclass(frozen=True, slots=True)
class LastSeen:
    """Where an application stood when its keeper wrote last."""

    mark: Mark = Mark.FREE
    instance: int = 0
    pid: int = 0
    earliest: float = 0.0
    latest: float = 0.0
    """Between these the process was created, in seconds since the machine's start."""


class KeptEntry(msgspec.Struct, frozen=True):
    """One application in `keeper.apps`."""

    entry: AppEntry
    slot: Annotated[int, msgspec.Meta(ge=0, le=SLOT_MAX)]
    is_wanted: bool


class KeptEntries(msgspec.Struct, frozen=True):
    """The whole of `keeper.apps`."""

    boot: str
    apps: tuple[KeptEntry, ...]


def boot_id() -> str:
    """Another one after each start of the machine; empty where the kernel does not tell."""
    with contextlib.suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return ""


class Record:
    """The two files, as the keeper that holds the lock writes them."""

    def __init__(self, run_dir: Path) -> None:
        """
        Raises:
            OSError: they cannot be opened.
        """
        self._apps_path = run_dir / APPS_FILE
        self._lives = os.open(run_dir / LIVES_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        self._slots: dict[str, int] = {}

    def fileno(self) -> int:
        """The file of slots."""
        return self._lives

    def load(self) -> list[tuple[KeptEntry, LastSeen]]:
        """What the predecessor left.  Nothing, if it was before the machine's last start, or cannot be understood."""
        try:
            with self._apps_path.open("rb") as file:
                size = min(os.fstat(file.fileno()).st_size, APPS_BYTES_MAX)
                kept = msgspec.msgpack.decode(file.read(size), type=KeptEntries)
        except (OSError, *UNDECODABLE):
            return []
        if kept.boot != boot_id():
            return []
        self._slots = {each.entry.name: each.slot for each in kept.apps}
        return [(each, self._read(each.slot)) for each in kept.apps]

    def declare(self, apps: Iterable[tuple[AppEntry, bool]]) -> None:
        """These are the applications, each with whether it is wanted; before any of them is started.

        Raises:
            OperationFailed: they cannot be written, so that a successor would not find them.
        """
        entries = list(apps)
        names = {entry.name for entry, _ in entries}
        slots = {name: slot for name, slot in self._slots.items() if name in names}
        free = iter(sorted(set(range(len(entries) + len(slots))) - set(slots.values())))
        new = self._apps_path.with_suffix(".new")
        try:
            for entry, _ in entries:
                if entry.name not in slots:
                    slots[entry.name] = next(free)
                    os.pwrite(self._lives, bytes(SLOT_BYTES), slots[entry.name] * SLOT_BYTES)
            kept = KeptEntries(boot_id(), tuple(KeptEntry(entry, slots[entry.name], want) for entry, want in entries))
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE), "wb") as file:
                file.write(msgspec.msgpack.encode(kept))
            new.replace(self._apps_path)
        except OSError as error:
            raise OperationFailed(f"{self._apps_path}: {error.strerror}") from None
        self._slots = slots

    def write(
        self, name: str, mark: Mark, instance: int, pid: int = 0, created: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """Where an application stands now; *created*: between which times its process was."""
        slot = self._slots.get(name)
        if slot is not None:
            os.pwrite(self._lives, _SLOT.pack(instance, pid, mark, *created), slot * SLOT_BYTES)

    def _read(self, slot: int) -> LastSeen:
        raw = os.pread(self._lives, SLOT_BYTES, slot * SLOT_BYTES)
        if len(raw) < _SLOT.size:
            return LastSeen()
        instance, pid, mark, earliest, latest = _SLOT.unpack_from(raw)
        try:
            return LastSeen(Mark(mark), instance, pid, earliest, latest)
        except ValueError:
            return LastSeen()
