"""The durable ring sequence (docs/totem.md §1.2): a ring's name must never be used twice.

The file is corosync's: `ringid_NODEID` in the state directory, mode 0600, eight bytes, an unsigned 64-bit number in
host order.  It is replaced atomically, and durable when `write` returns.
"""

from __future__ import annotations

import struct
from pathlib import Path

from ...ipc.errors import OperationFailed
from ..runtime.files import put_in_place

RING_SEQUENCE_MAX = 2**48
"""Highest number that is believed to be a ring sequence: at a ring every ten milliseconds it lasts 89,000 years.  A
damaged file must not say more, since all other nodes take over, and keep, the highest sequence that they hear."""

_FORMAT = struct.Struct("=Q")


class RingSequenceFile:
    """Reads and writes one node's ring sequence."""

    def __init__(self, state_dir: Path, node_id: int) -> None:
        self.path = state_dir / f"ringid_{node_id}"

    def read(self) -> int:
        """The stored sequence; 0 if there is none yet.

        Raises:
            OperationFailed: the file cannot be read, or holds something else.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise OperationFailed(f"{self.path}: cannot be read: {error.strerror}") from None
        if len(content) != _FORMAT.size:
            raise OperationFailed(
                f"{self.path}: holds {len(content)} bytes instead of {_FORMAT.size}.  It keeps ring names unique; if "
                f"it is damaged, remove it while the other nodes run, so that this node learns their sequence"
            )
        (sequence,) = _FORMAT.unpack(content)
        if sequence > RING_SEQUENCE_MAX:
            raise OperationFailed(
                f"{self.path}: holds {sequence}, which cannot be a ring sequence (at most {RING_SEQUENCE_MAX}): it "
                f"is damaged; remove it while the other nodes run, so that this node learns their sequence"
            )
        return int(sequence)

    def write(self, sequence: int) -> None:
        """Store *sequence*; it is on disk when this returns.

        Raises:
            OperationFailed: it could not be stored (full disk, read-only directory); the old value stays.
        """
        try:
            put_in_place(self.path, _FORMAT.pack(sequence), durable=True)
        except OSError as error:
            raise OperationFailed(
                f"{self.path}: the ring sequence cannot be stored: {error.strerror}.  Without it the name of a "
                f"ring might be used twice, so this node forms none.  Make room and make it writable, or name another "
                f"directory with system.state_dir; then start totemd again"
            ) from None
