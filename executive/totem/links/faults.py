"""A link that loses what a test tells it to lose.

Only for tests: it takes the place of the real link when the environment variable `TOTEMD_TEST_FAULTS` names a path,
and nothing in a configuration file can make it do so.  At that path it binds a unix datagram socket.  Each datagram
that it receives there is one JSON object, a *command*; its keys are carried out in the order of this table.  A file
of the same path with `.first` added holds a command for the start, so that a node that starts inside a partition has
never been outside of it.

| key | value | does |
| --- | --- | --- |
| `heal` | true | lose nothing any more, duplicate nothing |
| `block` | list of node ids | lose what is sent to, and what comes from, exactly these nodes |
| `block_send` | list of node ids | lose what is sent to exactly these nodes |
| `block_receive` | list of node ids | lose what comes from exactly these nodes |
| `loss` | 0.0 to 1.0 | share of the datagrams received, from any node, that are lost |
| `loss_send` | 0.0 to 1.0 | share of the datagrams sent that are lost |
| `duplicate` | 0.0 to 1.0 | share of the datagrams received that arrive twice |
| `seed` | integer | start the random numbers behind the shares anew |

`{"block": []}` unblocks.  A sender whose own socket has an address gets one datagram back once the command holds:
`{"ok": true}`, or `{"error": "…"}` when it was not understood, in which case nothing of it was carried out.
With `loss` alone, the same on all nodes, a datagram is lost with that probability on its whole way.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, repeat
from pathlib import Path
from typing import Annotated, Final

import msgspec

from ....ipc.errors import MalformedMessage
from ....ipc.ids import NodeNumber
from ....ipc.strict import decode_strictly
from ...runtime.logging import Logger
from ..wire.datagrams import Run, Source
from ..wire.events import Target
from .base import DRAIN_DATAGRAMS_MAX, Complain, Deliver, Link, PortClosed, Received, nobody_cares
from .settings import LinkSettings
from .udpu import socket_address

FAULTS_VARIABLE: Final = "TOTEMD_TEST_FAULTS"
"""Environment variable with the path of the command socket."""

FIRST_COMMAND_SUFFIX: Final = ".first"
"""Added to the path of the command socket: a file with the command that holds from the start."""

COMMAND_BYTES_MAX: Final = 65_536
"""Longest command."""

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a test asks for; None: as it is."""

    heal: bool = False
    block: tuple[NodeNumber, ...] | None = None
    block_send: tuple[NodeNumber, ...] | None = None
    block_receive: tuple[NodeNumber, ...] | None = None
    loss: Share | None = None
    loss_send: Share | None = None
    duplicate: Share | None = None
    seed: int | None = None


_DECODER: Final = msgspec.json.Decoder(Command)


def read_command(text: bytes) -> Command:
    """The command that *text* is.

    Raises:
        MalformedMessage: it is none; the text says why.
    """
    return decode_strictly(_DECODER, text, "fault command")


class Faults:
    """What is to be lost now.  Pure but for the random numbers, which start from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._blocked_sends: frozenset[int] = frozenset()
        self._blocked_receives: frozenset[int] = frozenset()
        self._loss = self._loss_send = self._duplicate = 0.0

    def command(self, command: Command) -> None:
        """Carry a command out."""
        if command.heal:
            self._blocked_sends = self._blocked_receives = frozenset()
            self._loss = self._loss_send = self._duplicate = 0.0
        if command.block is not None:
            self._blocked_sends = self._blocked_receives = frozenset(command.block)
        if command.block_send is not None:
            self._blocked_sends = frozenset(command.block_send)
        if command.block_receive is not None:
            self._blocked_receives = frozenset(command.block_receive)
        if command.loss is not None:
            self._loss = command.loss
        if command.loss_send is not None:
            self._loss_send = command.loss_send
        if command.duplicate is not None:
            self._duplicate = command.duplicate
        if command.seed is not None:
            self._random.seed(command.seed)

    def outgoing(self, node: int | None, datagrams: Run) -> list[Run]:
        """Those of *datagrams* to *node* (None: not a configured one) that go out."""
        if node in self._blocked_sends:
            return []
        if not self._loss_send:
            return [datagrams]
        return _runs(datagrams, [int(self._random.random() >= self._loss_send) for _ in range(len(datagrams))])

    def incoming(self, node: int | None, datagrams: Run) -> list[Run]:
        """Those of *datagrams* from *node* that arrive, as often as they do."""
        if node in self._blocked_receives:
            return []
        if not (self._loss or self._duplicate):
            return [datagrams]
        return _runs(datagrams, [self.copies(node) for _ in range(len(datagrams))])

    def copies(self, node: int | None) -> int:
        """How often a datagram from *node* arrives: 0, 1 or 2 times."""
        if node in self._blocked_receives or (self._loss and self._random.random() < self._loss):
            return 0
        return 2 if self._duplicate and self._random.random() < self._duplicate else 1


def _runs(datagrams: Run, copies: list[int]) -> list[Run]:
    """Each so many times; together what the kernel would hand over together: a datagram that is shorter ends a run."""
    if copies.count(1) == len(copies):
        return [datagrams]
    runs: list[Run] = []
    gathered: list[bytes] = []
    size = datagrams.size
    for datagram in chain.from_iterable(map(repeat, datagrams, copies)):
        gathered.append(datagram)
        if len(datagram) < size:
            runs.append(Run(b"".join(gathered), size))
            gathered = []
    return [*runs, Run(b"".join(gathered), size)] if gathered else runs


class FaultyLink:
    """Any link, with faults between it and the process."""

    def __init__(
        self,
        make_link: Callable[[Deliver, Complain], Link],
        settings: LinkSettings,
        deliver: Deliver,
        path: Path,
        log: Logger,
        *,
        complain: Complain = nobody_cares,
    ) -> None:
        """*make_link* makes the real one, given where to deliver and complain; *path*: of the command socket."""
        self._deliver = deliver
        self._complain = complain
        self._path = path
        self._log = log
        self._faults = Faults(seed=settings.node_id)
        self._port = settings.port
        self._node_of: dict[str, int] = {}
        self._commands: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._link = make_link(self._arrived, self._complained)
        self._name_nodes(settings.peers)

    def open(self) -> None:
        """See `Link.open`."""
        with contextlib.suppress(FileNotFoundError):
            self._carry_out(Path(f"{self._path}{FIRST_COMMAND_SUFFIX}").read_bytes())
        self._link.open()
        commands = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        if self._path.is_socket():  # of a process that was killed
            self._path.unlink()
        commands.bind(str(self._path))
        self._commands = commands
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(commands.fileno(), self._obey)
        self._log.warning(f"This link makes faults on command, for tests: {self._path}")

    def close(self) -> None:
        """See `Link.close`."""
        if self._commands is not None and self._loop is not None:
            self._loop.remove_reader(self._commands.fileno())
            self._commands.close()
            self._commands = None
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
        self._link.close()

    def send(self, to: Target, datagrams: Run) -> None:
        """See `Link.send`."""
        node = to if isinstance(to, int) else self._node_of.get(to[0])
        for left in self._faults.outgoing(node, datagrams):
            self._link.send(to, left)

    def multicast(self, nodes: Iterable[int], datagrams: Run) -> None:
        """See `Link.multicast`."""
        for node in nodes:
            self.send(node, datagrams)

    def drain(self, limit: int = DRAIN_DATAGRAMS_MAX) -> list[Received]:
        """See `Link.drain`."""
        return self._spared(self._link.drain(limit))

    @property
    def receive_buffer_bytes(self) -> int:
        """See `Link.receive_buffer_bytes`."""
        return self._link.receive_buffer_bytes

    @property
    def drained(self) -> bool:
        """See `Link.drained`."""
        return self._link.drained

    def set_peers(self, peers: Mapping[int, str]) -> None:
        """See `Link.set_peers`."""
        self._link.set_peers(peers)
        self._name_nodes(peers)

    def counters(self) -> dict[str, int]:
        """See `Link.counters`."""
        return self._link.counters()

    def _arrived(self, received: list[Received]) -> None:
        spared = self._spared(received)
        if spared:
            self._deliver(spared)

    def _complained(self, reports: list[PortClosed]) -> None:
        through = [report for report in reports if self._faults.copies(report.node)]
        if through:
            self._complain(through)

    def _spared(self, received: list[Received]) -> list[Received]:
        return [
            Received(left, source)
            for run, source in received
            for left in self._faults.incoming(self._node(source), run)
        ]

    def _node(self, source: Source) -> int | None:
        return self._node_of.get(source[0])

    def _name_nodes(self, peers: Mapping[int, str]) -> None:
        self._node_of = {str(socket_address(address, self._port)[1][0]): node for node, address in peers.items()}

    def _obey(self) -> None:
        assert self._commands is not None
        while True:
            try:
                text, sender = self._commands.recvfrom(COMMAND_BYTES_MAX)
            except BlockingIOError:
                return
            answer = self._carry_out(text)
            if sender:
                with contextlib.suppress(OSError):  # a test that does not wait for the answer may be gone
                    self._commands.sendto(msgspec.json.encode(answer), sender)

    def _carry_out(self, text: bytes) -> dict[str, bool | str]:
        try:
            command = read_command(text)
        except MalformedMessage as error:
            self._log.warning(f"No command for faults: {error}")
            return {"error": str(error)}
        self._faults.command(command)
        self._log.info("The faults of the link have changed", command=text.decode())
        return {"ok": True}
