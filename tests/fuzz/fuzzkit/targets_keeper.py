"""The socket of the keeper, and the files that it leaves to its successor."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
from fuzzkit.target import MSGPACK_BOMBS, Target
from fuzzkit.targets_ipc import client_end, server_end
from totemd.executive.config.model import AppEntry
from totemd.ipc.messages import keeper
from totemd.sam.keeper.record import APPS_FILE, LIVES_FILE, KeptEntries, KeptEntry, Record, boot_id

ENTRY = AppEntry("web", ("/bin/web", "-x"), {"backoff": ("0",)}, ("back",), ("db",), ("db",), False)


def _check_record(data: bytes) -> bool:
    """The same bytes in both files."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / APPS_FILE).write_bytes(data)
        (Path(folder) / LIVES_FILE).write_bytes(data)
        record = Record(Path(folder))
        try:
            return bool(record.load())
        finally:
            os.close(record.fileno())


def _records() -> Iterator[bytes]:
    yield msgspec.msgpack.encode(KeptEntries(boot_id(), (KeptEntry(ENTRY, 0, True),)))
    yield msgspec.msgpack.encode(KeptEntries(boot_id(), (KeptEntry(ENTRY, 5, False), KeptEntry(ENTRY, 1, True))))


TARGETS = (
    server_end("keeper-socket", keeper.TO_KEEPER),
    client_end("keeper-socket", keeper.FROM_KEEPER),
    Target("keeper-record", _check_record, _records, MSGPACK_BOMBS),
)
