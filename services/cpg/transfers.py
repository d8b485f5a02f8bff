"""Large messages on their way, part by part, as every node of the ring puts them together: pure.

A message is delivered at the place of its last part.  A state exchange, at a change of the ring or when a cpg process
comes up, breaks off every transfer that has begun: who is new has not seen its beginning.  The sender's node then
begins anew (`Outbox.begin_anew`), so that all members get the message, and all of it, or nobody does.
"""

from __future__ import annotations

import contextlib
import mmap
from dataclasses import dataclass

from ...ipc.errors import MalformedMessage
from .wire import TRANSFERS_MAX, Part


@dataclass(slots=True)
class _Parts:
    total: int
    whole: mmap.mmap
    """The message as far as it has come.  To join 64 MiB at the end would hold up everybody else's messages."""
    size: int = 0


class Transfers:
    """The transfers of the ring that have begun; the same on all its nodes."""

    def __init__(self) -> None:
        self._begun: dict[tuple[int, int], _Parts] = {}
        """By node and number."""

    def part(self, node: int, header: Part, body: memoryview) -> memoryview | None:
        """A part has been delivered; returns the whole message's batch if it was the last.

        A part that follows nothing belongs to a transfer that was broken off, and is none.

        Raises:
            MalformedMessage: it does not continue its transfer, or the node has too many.  The transfer is dropped.
        """
        key = (node, header.transfer)
        parts = self._begun.get(key)
        if parts is None:
            if header.offset:
                return None
            if sum(other == node for other, _ in self._begun) >= TRANSFERS_MAX:
                raise MalformedMessage(f"node {node} has {TRANSFERS_MAX} transfers at a time, which is the limit")
            parts = self._begun[key] = _Parts(header.total, _memory(header.total))
        if header.offset != parts.size or header.total != parts.total or parts.size + len(body) > parts.total:
            del self._begun[key]
            raise MalformedMessage(
                f"a part at {header.offset} of {header.total} with {len(body)} bytes does not follow {parts.size} bytes"
            )
        parts.whole[parts.size : parts.size + len(body)] = body
        parts.size += len(body)
        if parts.size < parts.total:
            return None
        del self._begun[key]
        return memoryview(parts.whole).toreadonly()

    def break_off(self) -> dict[int, set[int]]:
        """An exchange is complete: forget all; returns what had begun, as numbers by node."""
        broken: dict[int, set[int]] = {}
        for node, number in self._begun:
            broken.setdefault(node, set()).add(number)
        self._begun.clear()
        return broken

    def node_gone(self, node: int) -> None:
        """The cpg process of a node ended."""
        for key in [key for key in self._begun if key[0] == node]:
            del self._begun[key]


def _memory(size: int) -> mmap.mmap:
    """Memory of the kernel's own: it comes as it is written to, and goes back as soon as nobody needs it.

    In huge pages where there are some: to get and to give back 64 MiB in small ones takes five times as long.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(AttributeError, OSError):  # Neither every system nor every kernel has them.
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
