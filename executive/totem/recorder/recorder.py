"""The flight recorder of a totem process: keeps the recording, dumps it, and finds the one that a dead process left."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path

import msgspec

from ....ipc.errors import MalformedMessage, NotFound, OperationFailed, TotemdError
from ....ipc.messages.control import BlackboxAnswer
from ...config.model import Configuration
from ...runtime.child import ChildContext
from ...runtime.version import VERSION
from ..core.parameters import RingParameters
from ..core.ring import Ring
from .files import LIVE_NAME, Dumps, core_checksum, map_recording, read_file, recording_in_memory, remove
from .format import (
    HEADER_ROOM,
    REASON_BYTES_MAX,
    Header,
    decode_header,
    decode_records,
    decode_segments,
    encode_dump,
    encode_header,
)
from .ring import RecordedRing
from .tape import buffer_bytes, slot_bytes

CLUSTER_NAME_MAX = 255
"""Characters of the cluster's name in a header; the header has a fixed room."""

LOST = "the process (pid {pid}) ended without a word: killed, or taken down by a signal"


@dataclass(frozen=True, slots=True)
class Dumped:
    """A dump that was written."""

    path: Path
    bytes: int
    seconds: float
    """From its first input to its last."""


class FlightRecorder:
    """One for each totem process.  Nothing of it ever keeps the process from its work: what fails is logged."""

    def __init__(self, context: ChildContext, clock: Callable[[], float]) -> None:
        """Constructed in the running loop; *clock* is the one of all times that the core is given."""
        self._configuration = configuration = context.configuration
        self._live = context.run_dir / LIVE_NAME
        self._clock = clock
        self._log = context.log
        context.at_bug.append(self._crashed)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._try, "asked for by SIGUSR1")
        self._dumps = Dumps(
            Path(configuration.system.state_dir), configuration.local_node_id, configuration.logging.blackbox_dumps
        )
        self._ring: RecordedRing | None = None
        self._boot_sequence = 0
        self._buffer: mmap | None = None
        self._header: Header | None = None

    def ring(self, parameters: RingParameters, boot_sequence: int, jitter: Callable[[], float]) -> Ring:
        """The core of this process; recorded while `logging.blackbox` is on."""
        self._salvage()
        self._boot_sequence = boot_sequence
        ring = self._ring = RecordedRing(parameters, boot_sequence, jitter, self._violated)
        self._begin(ring)
        return ring

    def reconfigure(self, configuration: Configuration) -> None:
        """Take over a reload; another size, or off and on, begins a new recording."""
        old, new = self._configuration.logging, configuration.logging
        self._configuration = configuration
        self._dumps.keep = new.blackbox_dumps
        if self._ring is not None and (old.blackbox, old.blackbox_size) != (new.blackbox, new.blackbox_size):
            self._end(self._ring)
            self._begin(self._ring)

    def dump(self, reason: str) -> Dumped:
        """Write what there is into a file of its own.

        Raises:
            NotFound: nothing is recorded.
            OperationFailed: the file cannot be written.
        """
        if self._ring is None or self._ring.tape is None or self._header is None:
            raise NotFound("nothing is recorded: logging.blackbox is off, or the process is ending")
        segments = self._ring.tape.segments()
        wall = time.time()
        said = reason.encode()[-REASON_BYTES_MAX:].decode(errors="replace")
        content = encode_dump(msgspec.structs.replace(self._header, reason=said, dumped=wall), segments)
        first = next((record.time for record in decode_records(segments[0])), 0.0) if segments else 0.0
        path = self._dumps.write(content, wall)
        dumped = Dumped(path, len(content), max(0.0, self._ring.last_input - first))
        self._log.notice("flight recorder dumped", path=str(path), because=said.splitlines()[-1] if said else "",
                         seconds=round(dumped.seconds, 1))  # fmt: skip
        return dumped

    def answer(self, request: int) -> BlackboxAnswer:
        """Dump because totemctl asks for it; raises what `dump` does."""
        dumped = self.dump("asked for by totemctl blackbox dump")
        return BlackboxAnswer(request, str(dumped.path), dumped.bytes, dumped.seconds)

    def close(self) -> None:
        """The process ends as it should: its recording goes with it."""
        if self._ring is not None:
            self._end(self._ring)
            self._ring = None

    def _begin(self, ring: RecordedRing) -> None:
        if not self._configuration.logging.blackbox:
            return
        buffer = self._buffer = self._open()
        self._header = Header(
            software=VERSION,
            core=core_checksum(),
            node_id=self._configuration.local_node_id,
            pid=os.getpid(),
            boot_sequence=self._boot_sequence,
            cluster=self._configuration.totem.cluster_name[:CLUSTER_NAME_MAX],
            wall=time.time(),
            clock=self._clock(),
            slot_bytes=slot_bytes(len(buffer)),
            python=platform.python_version(),
        )
        encoded = encode_header(self._header)
        assert len(encoded) <= HEADER_ROOM
        buffer[: len(encoded)] = encoded
        ring.record(buffer, self._header.clock)

    def _end(self, ring: RecordedRing) -> None:
        ring.record(None)
        if self._buffer is not None:
            self._buffer.close()
            self._buffer = None
            remove(self._live)

    def _crashed(self, error: BaseException) -> None:
        """A bug ends this process: keep what led to it."""
        self._try("".join(traceback.format_exception(error)))

    def _violated(self, counter: str) -> None:
        self._try(f"an invariant of the core is broken: it counted {counter}")

    def _try(self, reason: str) -> None:
        try:
            self.dump(reason)
        except NotFound:
            pass
        except OperationFailed as error:
            self._log.err("the flight recorder could not be dumped", reason=str(error))

    def _open(self) -> mmap:
        size = buffer_bytes(self._configuration.logging.blackbox_size * 1024)
        try:
            return map_recording(self._live, size)
        except OSError as error:
            self._log.warning("the flight recorder is in memory only: it will not outlive a kill",
                              path=str(self._live), reason=error.strerror)  # fmt: skip
            return recording_in_memory(size)

    def _salvage(self) -> None:
        """A recording that is still there belongs to a process that could not even say goodbye."""
        if not self._live.exists():
            return
        try:
            data = read_file(self._live)
            header, end = decode_header(data)
            segments = decode_segments(data, header, end)
            wall = time.time()
            lost = msgspec.structs.replace(header, reason=LOST.format(pid=header.pid), dumped=wall)
            path = self._dumps.write(encode_dump(lost, segments), wall)
            self._log.notice("flight recorder of a lost process found", path=str(path), pid=header.pid)
        except MalformedMessage as error:
            self._log.warning("the recording of a lost process cannot be used", reason=str(error))
        except TotemdError as error:
            self._log.err("the recording of a lost process could not be kept", reason=str(error))
        remove(self._live)
