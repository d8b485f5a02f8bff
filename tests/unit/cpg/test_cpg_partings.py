"""The end of a connection: what was sent before is delivered, and the place in a group is free for the next one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import totemd
from cpgkit import DEADLINE, Rig, receive_until
from test_cpg_protocol import Stranger
from totemd import Client, ConfigChange, Event, Group, Message, Reason
from totemd.ipc.messages.common import PARTING_SECONDS
from totemd.ipc.paths import CPG_SOCKET

COUNT = 1_000

PLAIN_SENDER = """
import sys, msgspec, zmq
context = zmq.Context()
socket = context.socket(zmq.DEALER)
socket.connect(sys.argv[1])
def send(**message):
    socket.send(msgspec.msgpack.encode(message))
send(type="hello", role="client", protocol=[1, 0])
send(type="join", group=b"last words")
while msgspec.msgpack.decode(socket.recv_multipart()[0])["type"] != "changed":
    pass
for number in range(int(sys.argv[2])):
    send(type="say", group=b"last words", message=str(number).encode())
socket.close(linger=-1)
context.term()
"""
"""Leaves without a goodbye, and ends when libzmq has given the kernel everything."""


@pytest.fixture
def watcher(pair: Rig) -> Iterator[Group]:
    with pair.client(2) as client, client.join("last words") as group:
        yield group


def seen_until_the_leave(group: Group) -> list[bytes]:
    """The messages up to the next leave, which must be that of a process that ended."""

    def over(events: list[Event]) -> bool:
        return bool(events) and isinstance(last := events[-1], ConfigChange) and bool(last.left)

    events = receive_until(group, over)
    assert isinstance(events[-1], ConfigChange) and events[-1].left[0].reason is Reason.PROCESS_DOWN
    return [event.payload for event in events if isinstance(event, Message)]


def numbered(count: int = COUNT) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


@pytest.mark.parametrize("way", ["one by one", "many"])
def test_what_was_sent_before_a_close_is_delivered(pair: Rig, watcher: Group, way: str) -> None:
    for _ in range(3):
        with pair.client(1) as client:
            group = client.join("last words")
            if way == "many":
                group.mcast_many(numbered())
            else:
                for payload in numbered():
                    group.mcast(payload)
        assert seen_until_the_leave(watcher) == numbered()


def test_what_tasks_have_sent_before_a_close_is_delivered(pair: Rig, watcher: Group) -> None:
    async def story() -> None:
        async with totemd.aio.Client(pair.run_dirs[1]) as client:
            group = await client.join("last words")
            for payload in numbered():
                await group.mcast(payload)
                await asyncio.sleep(0)

    for _ in range(3):
        asyncio.run(asyncio.wait_for(story(), DEADLINE))
        assert seen_until_the_leave(watcher) == numbered()


@pytest.mark.parametrize("ends", ["with a goodbye", "without"])
def test_what_a_stranger_has_sent_before_it_closed_is_delivered(pair: Rig, watcher: Group, ends: str) -> None:
    for _ in range(3):
        stranger = Stranger(pair, 1)
        stranger.send(type="hello", role="client", protocol=[1, 0])
        stranger.send(type="join", group=b"last words")
        stranger.until("changed")
        for payload in numbered():
            stranger.send(type="say", group=b"last words", message=payload)
        if ends == "with a goodbye":
            stranger.send(type="goodbye")
        stranger.context.destroy(linger=5_000)
        assert seen_until_the_leave(watcher) == numbered()


def test_what_a_process_has_sent_before_it_ended_is_delivered(pair: Rig, watcher: Group) -> None:
    for _ in range(3):
        url = f"ipc://{pair.run_dirs[1] / CPG_SOCKET}"
        subprocess.run([sys.executable, "-c", PLAIN_SENDER, url, str(COUNT)], check=True, timeout=DEADLINE)
        assert seen_until_the_leave(watcher) == numbered()


def test_a_goodbye_is_answered_when_everything_before_it_was_taken(pair: Rig) -> None:
    stranger = Stranger(pair, 1)
    try:
        stranger.send(type="hello", role="client", protocol=[1, 2])
        stranger.until("ring")
        stranger.send(type="goodbye")
        assert stranger.receive() == ({"type": "goodbye"}, [])
    finally:
        stranger.context.destroy(linger=0)


@pytest.mark.parametrize("size", [8_000, totemd.MESSAGE_BYTES_MAX])
def test_the_next_client_of_a_process_can_join_at_once(pair: Rig, size: int) -> None:
    for _ in range(10):
        with pair.client(1) as client:
            group = client.join("again")
            for _ in range(max(3, 400_000 // size)):
                group.mcast(bytes(size))


def test_a_connection_that_starts_over_has_its_place_again(pair: Rig) -> None:
    """What interrupts the taking of messages costs the connection; the process must get into its groups again."""
    with pair.client(1) as client, client.join("again") as group:
        for round_ in range(10):
            group.mcast_many([bytes(2_000)] * 300)
            client._connection.in_hand = True  # as after an exception of a signal handler
            seen = receive_until(group, lambda events: any(isinstance(each, totemd.Rejoined) for each in events))
            assert group.absences == round_ + 1 and seen


def test_a_service_that_hangs_does_not_hold_a_close_for_long(pair: Rig) -> None:
    client = pair.client(1)
    client.join("hung")
    process = pair.processes[1]
    os.kill(process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        client.close()
        assert PARTING_SECONDS <= time.monotonic() - began < DEADLINE
    finally:
        os.kill(process.pid, signal.SIGCONT)


def test_a_service_that_has_died_holds_no_close(rig: Rig) -> None:
    client = rig.client(1)
    client.join("dead")
    rig.kill(1)
    client.close()
    with pytest.raises(totemd.ConnectionLost):
        Client(rig.run_dirs[1], timeout=0.1)


def lose_the_place(rig: Rig, which: str) -> None:
    if which == "cpg":
        rig.kill(1)
    else:
        rig.ring.stop_totem(1)


@pytest.mark.parametrize("when", ["meanwhile", "before"])
@pytest.mark.parametrize("which", ["cpg", "totem"])
def test_a_leave_that_may_lose_own_messages_says_so(rig: Rig, which: str, when: str) -> None:
    with rig.client(1) as client:
        group = client.join("lossy")
        rig.ring.hold()
        group.mcast_many([b"x"] * 7)
        lose_the_place(rig, which)
        if when == "before":
            with pytest.raises(TimeoutError):
                receive_until(group, lambda events: not group.is_member, 0.5)
            assert not group.is_member
        with pytest.raises(totemd.ConnectionLost, match="7 own messages"):
            group.leave(timeout=DEADLINE)
        group.leave()  # done
        with pytest.raises(totemd.ConnectionLost, match="7 own messages"):
            receive_until(group, lambda events: False)


@pytest.mark.parametrize("which", ["cpg", "totem"])
def test_a_task_that_leaves_learns_it_too(rig: Rig, which: str) -> None:
    async def story() -> None:
        async with totemd.aio.Client(rig.run_dirs[1]) as client:
            group = await client.join("lossy")
            rig.ring.hold()
            await group.mcast_many([b"x"] * 7)
            leaving = asyncio.ensure_future(group.leave())
            await asyncio.sleep(0)
            lose_the_place(rig, which)
            with pytest.raises(totemd.ConnectionLost, match="7 own messages"):
                await leaving
            await group.leave()

    asyncio.run(asyncio.wait_for(story(), DEADLINE))
