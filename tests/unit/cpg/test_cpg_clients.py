"""The blocking client against real cpg processes, on a ring without a network."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import totemd
from cpgkit import DEADLINE, Rig, changes, payloads, receive, receive_payloads, receive_until
from totemd import Address, Client, ConfigChange, Guarantee, Member, Message, Reason
from totemd.services.cpg.client import ENOUGH_BYTES
from totemd.testing import wait_until

HERE = Path(__file__).parent


def test_two_members_see_the_same_from_joining_to_leaving(pair: Rig) -> None:
    with pair.client(1) as one, pair.client(2) as two:
        assert (one.node_id, two.node_id) == (1, 2)
        assert one.address == Address(1, os.getpid())
        assert one.ring is not None and one.ring.members == (1, 2)
        with one.join("same") as a:
            me, other = Member(1, os.getpid()), Member(2, os.getpid())
            assert a.members == (me,)
            assert a.receive(DEADLINE) == ConfigChange((me,), (me._replace(reason=Reason.JOIN),), (), "same")
            with two.join("same", timeout=DEADLINE) as b:
                first = b.receive(DEADLINE)
                assert (
                    a.receive(DEADLINE)
                    == first
                    == ConfigChange((me, other), (other._replace(reason=Reason.JOIN),), (), "same")
                )
                a.mcast(b"agreed")
                b.mcast(b"safe", guarantee=Guarantee.SAFE)
                assert receive(a, 2) == (seen := receive(b, 2))
                assert {event.guarantee for event in seen if isinstance(event, Message)} == set(Guarantee)
            assert (
                b.receive(DEADLINE)
                == a.receive(DEADLINE)
                == ConfigChange((me,), (), (other._replace(reason=Reason.LEAVE),), "same")
            )
            with pytest.raises(totemd.NotMember):
                b.receive(0)
            assert a.members == (me,) and b.members == () and not b.is_member
            assert list(b) == []


def test_sizes_from_nothing_to_the_limit(pair: Rig) -> None:
    sizes = [0, 1, 63, 64, 65_535, 65_536, 65_537, 200_000, totemd.MESSAGE_BYTES_MAX - 1, totemd.MESSAGE_BYTES_MAX]
    with pair.client(1) as one, pair.client(2) as two, one.join("sizes") as a, two.join("sizes") as b:
        sent = [os.urandom(size) for size in sizes]
        for payload in sent:
            a.mcast(payload)
        assert receive_payloads(b, len(sent)) == sent
        with pytest.raises(totemd.MessageTooLarge, match="1048576 bytes"):
            a.mcast(bytes(totemd.MESSAGE_BYTES_MAX + 1))
        a.mcast(b"still works")
        assert receive_payloads(b, 1) == [b"still works"]


@pytest.mark.parametrize("way", ["single", "many", "batch"])
def test_many_messages_arrive_once_and_in_order(pair: Rig, way: str) -> None:
    sent = [b"%d" % number for number in range(3_000)]
    with pair.client(1) as one, pair.client(2) as two, one.join(f"many-{way}") as a, two.join(f"many-{way}") as b:
        match way:
            case "single":
                for payload in sent:
                    a.mcast(payload)
            case "many":
                assert a.mcast_many(iter(sent)) == len(sent)
            case _:
                with one.batch():
                    for payload in sent:
                        a.mcast(payload)
        assert receive_payloads(b, len(sent)) == sent
        assert receive_payloads(a, len(sent)) == sent


def test_a_receive_in_a_batch_sends_first(pair: Rig) -> None:
    with pair.client(1) as one, one.join("batch") as a, one.batch():
        a.mcast(b"m")
        assert receive_payloads(a, 1) == [b"m"]


def test_several_groups_of_one_client_keep_their_order(pair: Rig) -> None:
    with pair.client(1) as one, one.join("x") as x, one.join("y") as y:
        for number in range(50):
            (x, y)[number % 2].mcast(b"%d" % number)
        assert receive_payloads(y, 25) == [b"%d" % number for number in range(1, 50, 2)]
        assert receive_payloads(x, 25) == [b"%d" % number for number in range(0, 50, 2)]


def test_waiting_ends_in_time(pair: Rig) -> None:
    with pair.client(1) as one, one.join("quiet") as a:
        receive(a, 1)
        for timeout in (0, 0.05):
            with pytest.raises(TimeoutError, match="quiet"):
                a.receive(timeout=timeout)


def test_who_waits_takes_some_and_looks_at_all_before_giving_up(pair: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    with pair.client(1) as one, one.join("some") as a:
        receive(a, 1)
        asked: list[float] = []
        pump = one._connection.pump

        def noted(timeout: float | None, enough: float) -> Any:
            asked.append(enough)
            return pump(timeout, enough)

        monkeypatch.setattr(one._connection, "pump", noted)
        with pytest.raises(TimeoutError, match="some"):
            a.receive(timeout=0)
        assert asked == [ENOUGH_BYTES, math.inf]


def test_a_group_is_joined_once_by_a_process(pair: Rig) -> None:
    with pair.client(1) as one, pair.client(1) as again, one.join("once"):
        for client in (one, again):
            with pytest.raises(totemd.AlreadyMember):
                client.join("once", timeout=DEADLINE)


def test_a_group_can_be_joined_again_after_leaving(pair: Rig) -> None:
    with pair.client(1) as one:
        for _ in range(3):
            with one.join("again") as a:
                a.mcast(b"x")
                assert receive_payloads(a, 1) == [b"x"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", totemd.InvalidArgument),
        ("\ud800", totemd.InvalidArgument),
        ("x" * 129, totemd.GroupNameTooLong),
        ("ä" * 65, totemd.GroupNameTooLong),
    ],
)
def test_names_that_cannot_be(pair: Rig, name: str, error: type[Exception]) -> None:
    with pair.client(1) as one, pytest.raises(error):
        one.join(name)


def test_names_are_bytes(pair: Rig) -> None:
    with (
        pair.client(1) as one,
        pair.client(2) as two,
        one.join("ä\U0001f600") as a,
        two.join("ä\U0001f600".encode()) as b,
    ):
        assert a.name == b.name and len(b.members) == 2
        with two.join(b"\xff\xfe" + b"x" * 126) as odd:
            odd.mcast(b"m")
            assert receive_payloads(odd, 1) == [b"m"]


def test_what_cannot_be_sent(pair: Rig) -> None:
    with pair.client(1) as one, one.join("wrong") as a:
        with pytest.raises(totemd.InvalidArgument, match="bytes-like"):
            a.mcast("text")  # type: ignore[arg-type]
        with pytest.raises(totemd.InvalidArgument, match=r"Guarantee\.AGREED"):
            a.mcast(b"x", 7)  # type: ignore[arg-type]
    with pytest.raises(totemd.NotMember):
        a.mcast(b"x")


def test_nothing_runs_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(totemd.ConnectionLost, match=r"cpg\.sock"):
        Client(tmp_path)
    stale = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)
    stale.bind("cpg.sock")
    with pytest.raises(totemd.ConnectionLost, match="did not answer"):
        Client(tmp_path, timeout=0.2)
    stale.close()


def test_a_closed_client_is_of_no_use(pair: Rig) -> None:
    client = pair.client(1)
    group = client.join("closed")
    client.close()
    client.close()
    assert not client.connected
    assert isinstance(group.receive(1), ConfigChange), "what had come can still be read"
    for action in (lambda: group.receive(1), lambda: group.mcast(b"x"), lambda: client.join("other", timeout=1)):
        with pytest.raises(totemd.ConnectionLost):
            action()


def test_a_forked_child_cannot_use_it(pair: Rig) -> None:
    with pair.client(1) as one, one.join("fork") as a:
        pid = os.fork()
        if pid == 0:
            outcome = 1
            try:
                a.mcast(b"x")
            except totemd.OperationFailed as error:
                outcome = 0 if "fork" in str(error) else 2
            finally:
                os._exit(outcome)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        a.mcast(b"the parent goes on")
        assert receive_payloads(a, 1) == [b"the parent goes on"]


def member_process(run_dir: Path, group: str) -> subprocess.Popen[bytes]:
    """A program that joins and then waits for its end."""
    code = (
        "import sys, totemd\n"
        "client = totemd.Client(sys.argv[1])\n"
        "group = client.join(sys.argv[2])\n"
        "print('in', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(run_dir), group], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"in\n"
    return process


def test_a_forgotten_client_hangs_up_with_a_warning(pair: Rig) -> None:
    with pair.client(2) as two, two.join("forgotten") as b:
        receive(b, 1)
        client = pair.client(1)
        client.join("forgotten")
        receive(b, 1)
        with pytest.warns(ResourceWarning, match="never closed"):
            del client
            gc.collect()
        assert changes(receive(b, 1))[0].left == (Member(1, os.getpid(), Reason.PROCESS_DOWN),)


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_a_process_that_ends_is_down_at_once(pair: Rig, how: signal.Signals | None) -> None:
    """C6: killed, or ended without leaving."""
    with pair.client(1) as one, one.join("death") as a, member_process(pair.run_dirs[2], "death") as process:
        receive_until(a, lambda events: any(len(change.members) == 2 for change in changes(events)))
        if how is None:
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.send_signal(how)
        (change,) = changes(receive(a, 1))
        assert change.left == (Member(2, process.pid, Reason.PROCESS_DOWN),)


def test_the_descriptor_tells_when_there_is_something(pair: Rig) -> None:
    """For messages, for events that are queued already, for another group's traffic; and not otherwise."""
    with (
        pair.client(1) as one,
        pair.client(2) as two,
        one.join("fd") as a,
        one.join("fd2") as other,
        two.join("fd") as b,
    ):
        receive(a, 2)
        fd = a.fileno()
        assert fd == a.fileno() != other.fileno()

        def readable(timeout: float) -> bool:
            return bool(select.select([a], [], [], timeout)[0])

        def drain() -> list[bytes]:
            found = []
            while True:
                try:
                    found.append(a.receive(timeout=0))
                except TimeoutError:
                    return payloads(found)

        drain()
        assert not readable(0.05)
        for count in (1, 3, 100):
            b.mcast_many(b"%d" % number for number in range(count))
            got: list[bytes] = []
            while len(got) < count:
                assert readable(DEADLINE)
                got += drain()
            assert got == [b"%d" % number for number in range(count)]
            assert not readable(0)
        b.mcast(b"queued")
        receive_until(other, bool)
        wait_until(lambda: readable(0), DEADLINE, "the edge may be swallowed by the other group's receive")
        other.mcast(b"x")
        assert receive_payloads(other, 1) == [b"x"]
        assert readable(0), "its event is queued in the client"
        assert drain() == [b"queued"] and not readable(0)


def test_groups_and_memberships_of_the_whole_cluster(pair: Rig) -> None:
    me, other = Member(1, os.getpid()), Member(2, os.getpid())
    with pair.client(1) as one, pair.client(2) as two:
        assert one.groups(timeout=DEADLINE) == {}
        with one.join("a"), two.join("b") as b, one.join("b"):
            receive_until(b, lambda events: me in b.members)
            assert two.groups(timeout=DEADLINE) == {"a": (me,), "b": (me, other)}
            assert two.membership("a") == (me,)
            assert two.membership(b"nobody") == ()
            with pytest.raises(totemd.GroupNameTooLong):
                two.membership("x" * 129)


def test_a_message_in_parts_arrives_whole(pair: Rig) -> None:
    big = os.urandom(100_000)
    with pair.client(1) as one, pair.client(2) as two, one.join("parts") as a, two.join("parts") as b:
        a.mcast(b"before")
        a.mcast_parts([b"head", memoryview(big), bytearray(b"tail")], Guarantee.SAFE)
        a.mcast_parts([b"little ", b"parts"])
        assert receive_payloads(b, 3) == [b"before", b"head" + big + b"tail", b"little parts"]
        with pytest.raises(totemd.MessageTooLarge):
            a.mcast_parts([bytes(totemd.MESSAGE_BYTES_MAX), b"x"])


def test_the_ring_is_told_after_the_own_join_if_wanted(pair: Rig) -> None:
    with pair.client(1) as one, one.join("ring", initial_ring=True) as group:
        joined, ring = receive(group, 2)
        assert isinstance(joined, ConfigChange) and ring == one.ring


class Interruption(Exception):
    """What a signal handler raises."""


def test_an_exception_while_messages_are_taken_is_no_silent_gap(pair: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a signal handler may be: what was in hand may be lost, and the member is told."""

    def interrupted(*_: object) -> None:
        raise Interruption

    with pair.client(1) as one, pair.client(2) as two, one.join("gaps") as a, two.join("gaps") as b:
        receive(a, 2)
        b.mcast(b"lost on the way")
        with monkeypatch.context() as patched, pytest.raises(Interruption):
            patched.setattr(a._channel, "arrived", interrupted)
            a.receive(DEADLINE)
        events = receive_until(a, lambda events: bool(events) and isinstance(events[-1], totemd.Rejoined))
        assert payloads(events) == []
        b.mcast(b"after")
        receive_until(a, lambda events: b"after" in payloads(events))


def test_an_exception_while_a_member_waits_costs_nothing(pair: Rig) -> None:
    def interrupt(*_: object) -> None:
        raise Interruption

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pair.client(1) as one, pair.client(2) as two, one.join("alarm") as a, two.join("alarm") as b:
            receive(a, 2)
            for number in range(3):
                signal.setitimer(signal.ITIMER_REAL, 0.2)
                with pytest.raises(Interruption):
                    a.receive()
                b.mcast(b"%d" % number)
                assert receive_payloads(a, 1) == [b"%d" % number]
            assert a.absences == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_everything_pending_at_once_without_waiting(pair: Rig) -> None:
    with pair.client(1) as one, one.join("pending") as group:
        assert [type(event) for event in group.pending()] == [ConfigChange]
        assert group.pending() == []
        group.mcast_many(b"%d" % number for number in range(500))
        seen: list[bytes] = []
        wait_until(lambda: seen.extend(payloads(group.pending())) or len(seen) == 500, DEADLINE, "500 messages")
        assert seen == [b"%d" % number for number in range(500)]
        group.leave()
        assert [type(event) for event in group.pending()] == [ConfigChange]
        with pytest.raises(totemd.NotMember):
            group.pending()


def test_there_is_room_until_the_credit_is_used(pair: Rig) -> None:
    with pair.client(1) as one, one.join("room") as group:
        assert group.room == totemd.MESSAGE_BYTES_MAX
        pair.ring.hold()
        try:
            group.mcast(bytes(100_000))
            while group.room == totemd.MESSAGE_BYTES_MAX:
                group.mcast(bytes(totemd.MESSAGE_BYTES_MAX), wait=False)
            with pytest.raises(totemd.TryAgain):
                group.mcast(bytes(group.room + 1), wait=False)
            group.mcast(bytes(group.room), wait=False)
        finally:
            pair.ring.release()
        group.leave()
        assert group.room == -1


def test_context_is_the_users(pair: Rig) -> None:
    with pair.client(1) as one, one.join("context") as group:
        one.context = group.context = context = object()
        assert one.context is context and group.context is context


def test_descriptors_and_contexts_stay_the_same_however_often_they_are_asked_for(pair: Rig) -> None:
    """corosync's stress_cpgfdget and stress_cpgcontext."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(pair.client(1)) for _ in range(20)]
            groups = [client.join(f"stress {number}", timeout=DEADLINE) for number, client in enumerate(clients)]
            descriptors = [group.fileno() for group in groups]
            assert len(set(descriptors)) == len(groups)
            for number in range(200):
                for group, descriptor in zip(groups, descriptors, strict=True):
                    group.context = number
                    assert (group.fileno(), group.context) == (descriptor, number)
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, DEADLINE, "every descriptor is given back")
