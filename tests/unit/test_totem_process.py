"""The Totem process for real: sockets, sealing, the ring and services' streams, three nodes in one loop."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import CapturingLogger
from totemd.executive.config.model import Configuration, InterfaceOptions, NodeEntry, SystemOptions, TotemOptions
from totemd.executive.runtime.child import ChildContext
from totemd.executive.totem import process
from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.submission import Submission
from totemd.executive.totem.process import TotemProcess
from totemd.ipc.connection import Connection
from totemd.ipc.errors import TotemdError
from totemd.ipc.ids import Guarantee
from totemd.ipc.messages import stream
from totemd.ipc.messages.common import Welcome
from totemd.ipc.messages.control import MetricsAnswer, MetricsQuestion
from totemd.ipc.messages.stream import Lane

DEADLINE = 20.0
KEY = b"k" * 128
ITEM = stream.SubmitItem(stream.Lane.APPLICATION, Guarantee.AGREED)


class Recorder:
    """Stands for a service: synchronises at once, and records what it gets."""

    def __init__(self, run_dir: Path, node_count: int) -> None:
        self._wanted = node_count
        self.events: list[Any] = []
        self.payloads: list[tuple[int, bytes]] = []
        self.members: tuple[int, ...] = ()
        self.lost_because: TotemdError | None = None
        self.credit = 0
        self._epoch: stream.Epoch | None = None
        self._listed: set[int] = set()
        self.connection = Connection(run_dir / "totem.sock", "cpg", stream.TO_SERVICE, self)

    def connected(self, welcome: Welcome) -> None:
        self.credit = welcome.credit

    def lost(self, error: TotemdError) -> None:
        self.lost_because = error

    def arrived(self, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        match message:
            case stream.Credit(payload_bytes=count):
                self.credit += count
            case stream.Attached(members=members):
                self.members = members
            case stream.Events(events, spent):
                self.credit += spent
                self._take(events, iter(payload))
                self.connection.send(stream.Credit(sum(map(len, payload))))

    def _take(self, events: Sequence[Any], payload: Any) -> None:
        for event in events:
            self.events.append(event)
            match event:
                case stream.Delivered(origin=origin):
                    self.payloads.append((origin, bytes(next(payload))))
                case stream.Regular(ring=ring, members=members):
                    self.members, self._epoch, self._listed = members, stream.Epoch(ring, 0), set()
                case stream.ServiceList(node=node):
                    self._listed.add(node)
            if self._epoch is not None and self._listed == set(self.members):
                self.connection.send(stream.Synchronised(self._epoch))
                self._epoch = None

    def send(self, payload: bytes) -> None:
        self.connection.send(stream.Submit((ITEM,)), payload)


class Node:
    """One Totem process with its recorder, in this test's loop."""

    def __init__(self, node_id: int, node_count: int, block: str, key: bytes = KEY) -> None:
        self.run_dir = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
        self.log = CapturingLogger()
        addresses = {each: f"{block}.{each}" for each in range(1, node_count + 1)}
        totem = TotemOptions(
            cluster_name="test", cipher="aes256", token=800, token_retransmit=190, hold=140, consensus=960
        )
        configuration = Configuration(
            totem=totem,
            interfaces=(InterfaceOptions(bind_address=addresses[node_id]),),
            nodes=tuple(NodeEntry(each, "", (address,)) for each, address in addresses.items()),
            local_node_id=node_id,
            system=SystemOptions(state_dir=str(self.run_dir), sched_rr=False),
        )
        context = ChildContext("totem", self.run_dir, configuration, key, log=self.log)  # type: ignore[arg-type]
        self.totem = TotemProcess(context)
        self.recorder = Recorder(self.run_dir, node_count)

    def counted(self, event: str) -> float:
        answer = self.totem.answer(MetricsQuestion(1))
        assert isinstance(answer, MetricsAnswer)
        return next(metric.value for metric in answer.metrics if ("event", event) in metric.labels)

    def said(self, words: str) -> list[Any]:
        return [call for call in self.log.calls if call.args and words in str(call.args[0])]


@asynccontextmanager
async def nodes(count: int, keys: dict[int, bytes] | None = None) -> AsyncIterator[dict[int, Node]]:
    block = f"127.{64 + os.getpid() % 64}.{os.getpid() // 64 % 250}"
    made = {each: Node(each, count, block, (keys or {}).get(each, KEY)) for each in range(1, count + 1)}
    try:
        for node in made.values():
            await node.totem.start()
        yield made
    finally:
        for node in made.values():
            node.recorder.connection.close()
            await node.totem.stop()
            shutil.rmtree(node.run_dir)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)  # gives the loop to the nodes; the condition decides


def run(test: Callable[[], Any]) -> None:
    asyncio.run(test())


def test_three_nodes_form_a_ring_and_deliver_in_one_order() -> None:
    async def scenario() -> None:
        async with nodes(3) as ring:
            await until(lambda: all(node.recorder.members == (1, 2, 3) for node in ring.values()))
            for round_ in range(50):
                for node_id, node in ring.items():
                    node.recorder.send(b"%d from %d" % (round_, node_id) + b"x" * (round_ * 997))
            await until(lambda: all(len(node.recorder.payloads) == 150 for node in ring.values()))
            histories = [node.recorder.payloads for node in ring.values()]
            assert histories[0] == histories[1] == histories[2]
            for node_id in ring:
                own = [payload.split(b"x")[0] for origin, payload in histories[0] if origin == node_id]
                assert own == [b"%d from %d" % (round_, node_id) for round_ in range(50)]
            initial = ring[1].recorder.credit
            await until(lambda: len({node.recorder.credit for node in ring.values()}) == 1)
            assert initial <= ring[1].recorder.credit

    run(scenario)


def test_a_service_that_restarts_is_announced_down_and_up_in_order() -> None:
    async def scenario() -> None:
        async with nodes(2) as ring:
            await until(lambda: all(node.recorder.members == (1, 2) for node in ring.values()))
            ring[1].recorder.connection.close()
            await until(lambda: any(isinstance(each, stream.ServiceDown) for each in ring[2].recorder.events))
            ring[1].recorder = Recorder(ring[1].run_dir, 2)

            def back_up(witness: int) -> list[stream.ServiceUp]:
                events = ring[witness].recorder.events
                return [each for each in events if isinstance(each, stream.ServiceUp) and each.node == 1]

            await until(lambda: back_up(2) and back_up(1))
            assert back_up(2) == back_up(1) and back_up(2)[-1].service == "cpg"

    run(scenario)


def test_a_leaving_node_is_gone_at_once_and_its_last_words_arrive() -> None:
    async def scenario() -> None:
        async with nodes(3) as ring:
            await until(lambda: all(node.recorder.members == (1, 2, 3) for node in ring.values()))
            ring[3].recorder.send(b"last words")
            ring[3].recorder.connection.close()
            began = asyncio.get_running_loop().time()
            await until(lambda: any(isinstance(each, stream.ServiceDown) for each in ring[1].recorder.events))
            await ring[3].totem.stop()
            await until(lambda: all(ring[each].recorder.members == (1, 2) for each in (1, 2)))
            # Without the leave message it would take token + consensus.
            assert asyncio.get_running_loop().time() - began < 0.8 + 0.96
            kinds = [type(each) for each in ring[1].recorder.events]
            assert kinds.index(stream.ServiceDown) < len(kinds) - 1 - kinds[::-1].index(stream.Regular)
            assert (3, b"last words") in ring[1].recorder.payloads
            assert not ring[1].said("Failed to receive the leave message")

    run(scenario)


def test_a_node_with_another_key_stays_alone_and_is_complained_about_once() -> None:
    async def scenario() -> None:
        async with nodes(3, keys={3: b"another" * 20}) as ring:
            await until(lambda: all(ring[each].recorder.members == (1, 2) for each in (1, 2)))
            await until(lambda: all(bool(ring[each].said("Invalid digest")) for each in (1, 2, 3)))
            formed = len(ring[1].said("A new membership"))
            await until(lambda: ring[1].counted("dropped_invalid_digest") >= 8)
            assert len(ring[1].said("A new membership")) == formed
            assert ring[3].recorder.members == (3,)
            assert len(ring[1].said("Invalid digest")) == 1

    run(scenario)


def test_a_peer_that_talks_nonsense_is_complained_about_once() -> None:
    """It has the key, and has proven itself; its frames are no packets."""

    async def scenario() -> None:
        async with nodes(2) as ring:
            await until(lambda: all(node.recorder.members == (1, 2) for node in ring.values()))
            mad = ring[2].totem
            assert mad._link is not None
            for _ in range(50):
                mad._link.send(1, mad._frames.seal(b"\xc1junk", process.clock(), 1))
            ring[2].recorder.send(b"and yet it moves")  # behind them on the same socket
            await until(lambda: (2, b"and yet it moves") in ring[1].recorder.payloads)
            assert len(ring[1].said("packet dropped")) == 1

    run(scenario)


def test_who_wakes_from_a_pause_with_something_to_send_accuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was submitted before the pause has its turn first when the process goes on: before the socket is read."""
    jump = 0.0

    async def story() -> None:
        nonlocal jump
        async with nodes(2) as ring:
            await until(lambda: all(node.recorder.members == (1, 2) for node in ring.values()))
            one = ring[1].totem
            one._ring.gather(process.clock())
            one.submit(Submission(1, Lane.APPLICATION, Guarantee.AGREED, b"x"))
            jump = 3.0
            await until(lambda: bool(ring[1].said("Process pause detected")))
            await until(lambda: all(node.totem._ring.state is RingState.OPERATIONAL for node in ring.values()))
            formed = [str(call.args[0]) for call in ring[1].said("A new membership")]
            assert not [text for text in formed if "left" in text], formed

    began = process.clock
    monkeypatch.setattr(process, "clock", lambda: began() + jump)
    run(story)
