"""The blocking client when processes die and stop, credit ends, or somebody does not read."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time

import pytest
import totemd
from cpgkit import DEADLINE, Rig, changes, payloads, receive, receive_payloads, receive_until
from totemd import ConfigChange, Member, Reason, Rejoined, RingChange
from totemd.testing import wait_until


def test_the_descriptor_survives_a_restart_of_the_service(rig: Rig) -> None:
    with rig.client(1) as one, one.join("fd") as a:
        receive(a, 1)
        a.fileno()
        rig.kill(1)
        rig.start(1)
        events: list[object] = []
        end_at = time.monotonic() + DEADLINE
        while not any(isinstance(event, ConfigChange) for event in events):
            assert time.monotonic() < end_at, events
            if select.select([a], [], [], 1)[0]:
                try:
                    events.append(a.receive(timeout=0))
                except TimeoutError:
                    continue
        assert [type(event) for event in events] == [Rejoined, ConfigChange]


def test_without_credit_a_sender_blocks_or_is_told(rig: Rig) -> None:
    with rig.client(1) as one, one.join("credit") as a:
        receive(a, 1)
        rig.ring.hold()
        big, sent = bytes(totemd.MESSAGE_BYTES_MAX), 0
        with pytest.raises(totemd.TryAgain):
            while sent < 100:
                a.mcast(big, wait=False)
                sent += 1
        assert 2 <= sent < 20
        with pytest.raises(TimeoutError):
            a.mcast(big, timeout=0.05)
        rig.ring.release()
        a.mcast(big)
        assert len(receive_payloads(a, sent + 1)) == sent + 1


def test_a_join_that_takes_too_long_is_given_up(rig: Rig) -> None:
    with rig.client(1) as one:
        rig.ring.hold()
        with pytest.raises(TimeoutError, match="joined"):
            one.join("late", timeout=0.05)
        rig.ring.release()
        with one.join("late", timeout=DEADLINE) as a:
            (change,) = changes(receive(a, 1))
            assert [each.address for each in change.joined] == [one.address]


def test_the_cpg_process_is_killed(rig: Rig) -> None:
    """The others see the members go and come; the members learn that they were away before anything new."""
    with rig.client(1) as one, rig.client(2) as two, one.join("kill") as a, two.join("kill") as b:
        receive(a, 2)
        receive(b, 1)
        a.mcast(b"before")
        assert receive_payloads(a, 1) == receive_payloads(b, 1) == [b"before"]
        rig.ring.hold()
        a.mcast(b"never placed")
        wait_until(lambda: rig.ring.do(lambda: len(rig.ring.nodes[1].application)) == 1, DEADLINE, "the submission")
        rig.kill(1)
        assert changes(receive(b, 1))[0].left == (Member(1, os.getpid(), Reason.PROCESS_DOWN),)
        rig.ring.release()
        rig.start(1)
        rejoined, change = receive(a, 2)
        assert rejoined == Rejoined(1, "kill")
        assert isinstance(change, ConfigChange) and [each.address for each in change.joined] == [one.address]
        assert receive(b, 1) == [change]
        a.mcast(b"after")
        assert receive_payloads(a, 1) == receive_payloads(b, 1) == [b"after"], "and not what the old process had queued"


def test_the_totem_process_is_killed(rig: Rig) -> None:
    with rig.client(1) as one, rig.client(2) as two, one.join("totem") as a, two.join("totem") as b:
        receive(a, 2)
        receive(b, 1)
        rig.ring.stop_totem(1)
        assert [type(event) for event in receive(b, 2)] == [ConfigChange, RingChange]
        with pytest.raises(totemd.TryAgain):
            while True:
                a.mcast(b"x", wait=False)
        assert one.ring is None
        rig.ring.start_totem(1)
        events = receive_until(a, lambda events: bool(changes(events)))
        assert isinstance(events[0], Rejoined) and isinstance(events[1], ConfigChange)
        receive_until(b, lambda events: any(len(change.members) == 2 for change in changes(events)))
        a.mcast(b"after")
        assert payloads(receive_until(b, lambda events: b"after" in payloads(events))) == [b"after"]
        wait_until(lambda: one.ring is not None and one.ring.members == (1, 2), DEADLINE, "the ring")


def test_a_message_sent_while_away_waits_for_the_return(rig: Rig) -> None:
    with rig.client(1) as one, one.join("away") as a:
        receive(a, 1)
        rig.kill(1)
        with pytest.raises(TimeoutError):
            a.receive(0.05)
        assert not one.connected and not a.is_member
        with pytest.raises(totemd.TryAgain):
            a.mcast(b"impatient", wait=False)
        rig.start(1)
        a.mcast(b"patient")
        rejoined, change, message = receive(a, 3)
        assert rejoined == Rejoined(0, "away") and isinstance(change, ConfigChange)
        assert payloads([message]) == [b"patient"]


def test_a_clean_stop_shows_processes_that_end(rig: Rig) -> None:
    """C6: a daemon that is stopped, as opposed to a node that fails."""
    with rig.client(1) as one, rig.client(2) as two, one.join("stop") as a, two.join("stop") as b:
        receive(b, 1)
        rig.terminate(1)
        receive_until(
            b,
            lambda events: any(
                change.left == (Member(1, os.getpid(), Reason.PROCESS_DOWN),) for change in changes(events)
            ),
        )
        assert a.name == "stop"


def test_a_member_that_does_not_read_is_expelled(rig: Rig) -> None:
    with rig.client(1) as one, rig.client(2) as lazy, one.join("lazy") as a, lazy.join("lazy") as stuck:
        receive(a, 2)
        chunk, reason = bytes(totemd.MESSAGE_BYTES_MAX), None
        for _ in range(100):
            a.mcast(chunk)
            event = a.receive(DEADLINE)
            if isinstance(event, ConfigChange):
                reason = event.left[0].reason
                break
        assert reason is Reason.EXPELLED
        with pytest.raises(totemd.Expelled, match="unread"):
            while True:
                stuck.receive(DEADLINE)
        with pytest.raises(totemd.Expelled):
            stuck.mcast(b"x")
        with lazy.join("lazy", timeout=DEADLINE) as again:
            assert len(again.members) == 2


def test_a_stranger_is_not_let_in(rig: Rig) -> None:
    """Root may; an ordinary user only when the rules say so."""
    if os.getuid() != 0:
        pytest.skip("needs root, to be somebody else")
    nobody = 65_534
    for path in (rig.run_dirs[1].parent, rig.run_dirs[1]):
        path.chmod(0o755)
    code = (
        "import os, sys, totemd\n"
        f"os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})\n"
        "try: totemd.Client(sys.argv[1]); print('in')\n"
        "except totemd.AccessDenied as error: print('denied', error)\n"
    )
    command = [sys.executable, "-c", code, str(rig.run_dirs[1])]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("denied user 65534")
    rig.terminate(1)
    rig.start(1, nobody)
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "in\n"
