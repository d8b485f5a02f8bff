"""What a voter on leases keeps on disk: `singletons_NODEID` in the state directory (docs/singleton.md)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..executive.runtime.files import read_file, replace_file
from ..ipc.errors import MalformedMessage, OperationFailed
from ..ipc.strict import decode_strictly
from .cluster.promises import Record

_DECODER: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def decode_record(content: bytes) -> Record:
    """What the file says.

    Raises:
        MalformedMessage: it is damaged.
    """
    return decode_strictly(_DECODER, content, "record of leases")


class Ballots:
    """The file of one node."""

    def __init__(self, state_dir: Path, node_id: int) -> None:
        self.path = state_dir / f"singletons_{node_id}"

    def read(self) -> Record:
        """What was kept last; nothing if there is no file.

        Raises:
            OperationFailed: it cannot be read, or is damaged.
        """
        content = read_file(self.path)
        try:
            return Record() if content is None else decode_record(content)
        except MalformedMessage as error:
            raise OperationFailed(
                f"{self.path}: {error}.  It keeps what this node has promised about applications that run on one node "
                f"at a time; if it is damaged, remove it when the node has been off for longer than their leases"
            ) from None

    def write(self, record: Record) -> None:
        """Keep this; it is on disk when this returns.  Raises OperationFailed."""
        replace_file(self.path, msgspec.msgpack.encode(record), durable=True)
