"""The blocking replica and its dictionary on real cpg processes."""

from __future__ import annotations

import select
from typing import Any

import pytest
from cpgkit import DEADLINE, Rig
from machines import Counter
from totemd import InvalidArgument, MessageTooLarge, NotMember
from totemd.replica import Majority, Rejected, Replica, ReplicatedDict, Status
from totemd.services.replica.mapping import DictMachine
from totemd.services.replica.messages import COMMAND_BYTES_MAX


def test_commands_are_applied_everywhere(pair: Rig) -> None:
    with pair.client(1) as first, pair.client(2) as second:
        mine, theirs = Counter(), Counter()
        with Replica(first, "b-counter", mine) as one:
            assert one.submit(b"5", DEADLINE) == 5
            with Replica(second, "b-counter", theirs) as two:
                while two.status is not Status.ACTIVE:
                    one.process(0.05)
                    two.process(0.05)
                assert theirs.total == 5
                assert two.submit(b"2", DEADLINE) == 7
                one.barrier(DEADLINE)
                assert mine.total == 7
                with pytest.raises(Rejected):
                    one.submit(b"x", DEADLINE)
                assert len(one.active_members) == 2


def test_who_is_there_is_told(rig: Rig) -> None:
    told: list[tuple[int, ...]] = []
    with rig.client(1) as first, rig.client(2) as second:
        here = {"on_members": lambda members: told.append(tuple(node for node, _ in members)), "timeout": DEADLINE}
        with ReplicatedDict(first, "b-members", **here) as one:
            with Replica(second, "b-members", DictMachine()) as two:
                one.replica.wait(lambda: told == [(1,), (1, 2)], DEADLINE)
                assert [node for node, _ in one.replica.members] == [1, 2]
                two.active(DEADLINE)
            one.replica.wait(lambda: told == [(1,), (1, 2), (1,)], DEADLINE)
            rig.kill(1)
            rig.start(1)
            one.replica.wait(lambda: told[3:] == [(), (1,)], DEADLINE)


def test_it_can_be_watched(pair: Rig) -> None:
    counter = Counter()
    with (
        pair.client(1) as first,
        pair.client(2) as second,
        Replica(first, "b-watch", counter) as one,
        Replica(second, "b-watch", Counter()) as two,
    ):
        while two.status is not Status.ACTIVE or one.status is not Status.ACTIVE:
            one.process(0.05)
            two.process(0.05)
        while one.process():
            pass
        two.submit(b"4", DEADLINE)
        assert select.select([one], [], [], DEADLINE)[0]
        while counter.total != 4:
            select.select([one], [], [], DEADLINE)
            one.process()


def test_it_says_what_did_not_happen(pair: Rig) -> None:
    with pair.client(1) as first, Replica(first, "b-alone", Counter(), Majority(2)) as one:
        with pytest.raises(TimeoutError, match="suspended"):
            one.active(0.3)
        with pytest.raises(TimeoutError, match="not answered"):
            one.submit(b"1", 0.1)
        one.close()
        with pytest.raises(NotMember):
            one.submit(b"1", 0.1)


@pytest.mark.parametrize("wrong", [5, "4", None, [4]])
def test_a_command_is_bytes_like(pair: Rig, wrong: Any) -> None:
    counter = Counter()
    with pair.client(1) as first, Replica(first, "b-wrong", counter) as one:
        one.active(DEADLINE)
        for call in (one.submit, one.post):
            with pytest.raises(InvalidArgument, match="a command is bytes-like"):
                call(wrong)
        with pytest.raises(MessageTooLarge, match="a command has at most"):
            one.submit(bytes(COMMAND_BYTES_MAX + 1))
        one.submit(memoryview(bytearray(b"4")), DEADLINE)
        assert counter.total == 4


class Unnumbered(Counter):
    snapshot_format = "one"


class Uncounted(Counter):
    accepts_formats = (1, -1)


class Unlisted(Counter):
    accepts_formats = 1


@pytest.mark.parametrize("wrong", [object(), Unnumbered(), Uncounted(), Unlisted()])
def test_what_is_no_state_machine_joins_nothing(pair: Rig, wrong: Any) -> None:
    with pair.client(1) as client:
        with pytest.raises(InvalidArgument, match=r"state machine|format"):
            Replica(client, "b-none", wrong)
        assert client.membership("b-none") == ()
        with Replica(client, "b-none", Counter(), timeout=DEADLINE) as one:
            one.active(DEADLINE)


def test_what_the_state_machine_raises_is_raised(pair: Rig) -> None:
    class Broken(Counter):
        def apply(self, command: bytes) -> int:
            raise ZeroDivisionError(command)

    with pair.client(1) as first, Replica(first, "b-broken", Broken()) as one:
        with pytest.raises(ZeroDivisionError):
            one.submit(b"1", DEADLINE)
        assert one.status is Status.CLOSED
        with pytest.raises(ZeroDivisionError):
            one.submit(b"1", DEADLINE)


def refuse_the_end(status: Status) -> None:
    if status is Status.CLOSED:
        raise LookupError("the end")


def test_what_a_callback_raises_at_the_end_keeps_nobody_in_the_group(
    pair: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with pair.client(1) as first:
        one = Replica(first, "b-end", Counter(), on_status=refuse_the_end)
        one.active(DEADLINE)
        one.close()
        assert first.membership("b-end") == ()
    assert "LookupError: the end" in caplog.text


def test_a_callback_that_is_told_of_the_end_cannot_use_the_replica(pair: Rig) -> None:
    refused: list[str] = []

    def use(status: Status) -> None:
        if status is Status.CLOSED:
            for use in (one.close, one.process, lambda: one.submit(b"1")):
                with pytest.raises(RuntimeError) as caught:
                    use()
                refused.append(str(caught.value))

    with pair.client(1) as first, Replica(first, "b-told", Counter(), on_status=use) as one:
        one.active(DEADLINE)
        one.close()
        assert first.membership("b-told") == ()
    assert len(refused) == 3 and "cannot be used by what it calls" in refused[0]


def test_what_a_callback_raises_at_the_end_hides_nothing(pair: Rig) -> None:
    class Broken(Counter):
        def apply(self, command: bytes) -> int:
            raise ZeroDivisionError(command)

    with pair.client(1) as first, Replica(first, "b-hides", Broken(), on_status=refuse_the_end) as one:
        with pytest.raises(ZeroDivisionError):
            one.submit(b"1", DEADLINE)
        assert first.membership("b-hides") == ()


def test_a_dictionary(pair: Rig) -> None:
    with pair.client(1) as client, ReplicatedDict(client, "b-dict", timeout=DEADLINE) as settings:
        settings["colour"] = "blue"
        settings.update(size=3, shape=[1, 2])
        assert settings.setdefault("size", 4) == 3
        assert settings.setdefault("depth", 4) == 4
        assert settings.pop("depth") == 4
        assert settings.pop("depth", None) is None
        with pytest.raises(KeyError):
            del settings["depth"]
        assert settings == {"colour": "blue", "size": 3, "shape": [1, 2]}
        settings["shape"].append(3)
        assert settings["shape"] == [1, 2], "a value is changed by writing it"
        settings.clear()
        assert not settings
