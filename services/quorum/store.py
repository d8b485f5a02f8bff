"""What the quorum process keeps in the state directory; every file is replaced as a whole.

`ev_tracking` is corosync's file: four bytes, an unsigned number in host order, the highest expected votes ever; it is
durable, and may be deleted where it has to become lower.  `quorum_NODEID` is what this process knew last, for its
successor if it dies while the node runs; after a restart of the node it is void, so that wait_for_all waits anew.
"""

from __future__ import annotations

import secrets
import struct
from pathlib import Path

import msgspec

from ...executive.runtime.files import read_file, replace_file
from ...ipc.errors import OperationFailed
from .wire import Record

_TRACKED = struct.Struct("=I")

_START_TICKS = 19
"""Where `/proc/PID/stat` has the clock ticks from the boot to the start, counted from behind the name."""


class _Memory(msgspec.Struct, frozen=True, array_like=True):
    life: str
    """Of the executive."""
    record: Record


class Store:
    """The files of one node."""

    def __init__(self, state_dir: Path, node_id: int, life: str) -> None:
        """*life* names the run of the node; see `life_of`."""
        self.tracking_path = state_dir / "ev_tracking"
        self.memory_path = state_dir / f"quorum_{node_id}"
        self._life = life

    def tracked(self) -> int:
        """The highest expected votes ever; 0 if nothing is known.

        Raises:
            OperationFailed: the file cannot be read, or holds something else.
        """
        content = read_file(self.tracking_path)
        if content is None:
            return 0
        if len(content) != _TRACKED.size:
            raise OperationFailed(
                f"{self.tracking_path}: holds {len(content)} bytes instead of {_TRACKED.size}.  It keeps the highest "
                f"expected votes; if it is damaged, remove it while the rest of the cluster is quorate"
            )
        return int(_TRACKED.unpack(content)[0])

    def track(self, expected: int) -> None:
        """Keep the highest expected votes; they are on disk when this returns.  Raises OperationFailed."""
        replace_file(self.tracking_path, _TRACKED.pack(expected), durable=True)

    def memory(self) -> Record | None:
        """What a predecessor knew during this run of the node; None if there was none, or its file is damaged."""
        try:
            content = read_file(self.memory_path)
            memory = None if content is None else msgspec.msgpack.decode(content, type=_Memory)
        except (OperationFailed, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return memory.record if memory is not None and memory.life == self._life else None

    def remember(self, record: Record) -> None:
        """Keep this for a successor.  Raises OperationFailed."""
        replace_file(self.memory_path, msgspec.msgpack.encode(_Memory(self._life, record)), durable=False)


def life_of(pid: int) -> str:
    """A name for this run of a process that no other has; the clock may be set meanwhile.  Unknown processes have none.

    Source: proc(5), field 22 of `stat`.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return f"{pid}:{secrets.token_hex(8)}"  # a name that nobody has had, so that no memory is believed
    return f"{boot}:{pid}:{int(fields[_START_TICKS])}"
