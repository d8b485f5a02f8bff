"""Faults one by one: the same thing goes wrong at every place where it can, and what must have no effect has none."""

from __future__ import annotations

import datetime
import itertools
import os
import random
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from simcluster.checker import explain
from simcluster.cluster import Cluster, Outcome
from simcluster.fault_plan import EFFECT_EVENTS, STATE_EVENTS, plan
from simcluster.faults import Crash, Fault, Lossy, Pause, PlannedFault, Several, Trap
from simcluster.faults_local import Corrupt, Forge, Record, Replay, StepWallClock, Wipe
from simcluster.network import Damaged, Network, damage
from simcluster.options import TOKEN, Options, derive
from simcluster.scenario import Request, Script
from simcluster.scheduler import Scheduler
from totemd.executive.totem.wire.packets import MergeDetect, Token
from totemd.ipc.ids import RingId

FORMING_SECONDS = 0.12
"""By then a ring of all nodes has been formed and carries messages."""
FAULT_SECONDS = 0.3
NODES = 3
PACKETS = {"Token": 18, "CommitToken": 7, "Join": 10, "Mcast": 8}
"""How many of each kind are lost, one after the other: all of the first formation, and the first ordinary ones."""
NEVER = 1e6


def short(seed: int, wire: str = "objects") -> Options:
    """A quiet cluster that has just been started."""
    options = derive(seed, "calm", (NODES, NODES))
    return replace(options, fault_seconds=FAULT_SECONDS, start_spread=0.0, wire=wire)


def run(options: Options, *faults: tuple[float, Fault]) -> Outcome:
    """What comes of these faults, with a few messages on their way all the time."""
    planned = tuple(PlannedFault(index, *fault) for index, fault in enumerate(faults))
    requests = tuple(
        Request(0.01 * step, 1 + step % options.nodes, 10 * step, safe=bool(step % 2)) for step in range(1, 30)
    )
    return Cluster(options, script=Script(options, planned, requests)).run()


def complaints(options: Options, *faults: tuple[float, Fault]) -> Iterator[str]:
    """What is wrong after these faults."""
    outcome = run(options, *faults)
    for violation in outcome.violations[:1]:
        yield f"{faults}: {explain(outcome.history, violation)}"


def lost(kind: str, number: int) -> Fault:
    """The *number*-th packet of a kind is lost, counted from the fault on."""
    return Lossy((kind,), (), 1.0, NEVER, number, 1)


# -- at each place


@pytest.mark.parametrize("kind", PACKETS)
def test_a_packet_lost_at_each_hop(kind: str) -> None:
    found = [line for number in range(PACKETS[kind]) for line in complaints(short(1), (0.0, lost(kind, number)))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("first", range(PACKETS["CommitToken"]))
def test_two_tokens_of_one_membership_change_lost(first: int) -> None:
    """The first loss makes the ring start over; the second one hits that second attempt, wherever it is then."""
    found = [
        line
        for kind, second in itertools.product(("CommitToken", "Token"), range(4))
        for line in complaints(short(2), (0.0, lost("CommitToken", first)), (0.0, lost(kind, first + second)))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("event", ("Persisting", *STATE_EVENTS, *EFFECT_EVENTS))
def test_a_crash_at_each_event(event: str) -> None:
    """`Persisting` is the middle of a ring-sequence write: the old one is what is found afterwards."""
    found = [
        line
        for node, skip in itertools.product((1, 2), (0, 1, 3))
        for line in complaints(short(3), (0.0, Trap(node, event, skip, Crash((node,), (0.02,)))))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("first", ["commit", "recovery", "Persist", "TransitionalConfiguration"])
def test_three_faults_inside_one_recovery(first: str) -> None:
    """A loss, a crash in the attempt after it, and a pause longer than every timeout in the third."""
    deep = Several((lost("Token", 0), Trap(1, "recovery", 0, Crash((2,), (0.01,)))))
    pause = Trap(2, "recovery", 1, Pause(1, 3 * TOKEN))
    found = [
        line for node in (1, 2, 3) for line in complaints(short(4), (0.0, Trap(node, first, 0, deep)), (0.0, pause))
    ]
    assert not found, "\n".join(found)


def test_a_torn_write_leaves_the_old_sequence() -> None:
    cluster = Cluster(short(5), script=Script(short(5), (), ()))
    seen: list[tuple[int, int]] = []
    node = cluster.nodes[0]
    cluster.scheduler.run_until(FORMING_SECONDS)
    before = node.disk
    cluster.set_trap(1, "Persisting", 0, Crash((1,), (NEVER,)))
    node.ring.gather(node.now())  # type: ignore[union-attr]
    node._carry_out()
    cluster.scheduler.run_until(FORMING_SECONDS + 2 * TOKEN)
    seen.append((before, node.disk))
    assert node.ring is None
    assert seen == [(before, before)]


# -- disks


def test_a_replaced_machine_finds_its_place() -> None:
    for seed in range(4):
        outcome = Cluster(derive(seed, "disk")).run()
        assert not outcome.violations, explain(outcome.history, outcome.violations[0])


def test_a_lost_disk_is_dangerous_when_nobody_else_remembers() -> None:
    """Why the ring sequence is on disk: with all of them lost at once, the name of a ring is used a second time."""
    options = replace(short(6), fault_seconds=2.0)
    wiped = Several(tuple(Wipe(node, 0.01) for node in (1, 2, 3)))
    assert {violation.prop for violation in run(options, (1.0, wiped)).violations} & {"E5", "E7", "E10", "W2"}


# -- bytes that nobody should believe


@pytest.mark.parametrize("wire", ["objects", "codec", "sealed", "unsealed"])
def test_what_is_damaged_is_as_good_as_lost(wire: str) -> None:
    options = replace(short(7, wire), fault_seconds=1.5)
    outcome = run(options, (0.02, Corrupt((), (), 0.2, 1.0)))
    assert not outcome.violations, explain(outcome.history, outcome.violations[0])
    assert sum(times for name, times in outcome.coverage.items() if name.startswith("network.damaged")) > 10


def test_recordings_and_forgeries_do_nothing() -> None:
    options = replace(short(8, "sealed"), fault_seconds=1.5)
    strangers = [(0.3 + 0.1 * step, Replay(40, step)) for step in range(6)]
    forged = [(0.35 + 0.1 * step, Forge(1 + step % NODES, 40, step)) for step in range(6)]
    outcome = run(options, (0.0, Record()), *strangers, *forged)
    assert not outcome.violations, explain(outcome.history, outcome.violations[0])
    assert outcome.coverage["fact.ring.installed"] == run(options).coverage["fact.ring.installed"]


def test_a_recording_of_an_earlier_life_does_nothing() -> None:
    options = replace(short(9, "sealed"), fault_seconds=2.5)
    crashed = (0.8, Crash((2,), (0.05,)))
    outcome = run(options, (0.0, Record()), crashed, *((1.2 + 0.05 * step, Replay(60, step)) for step in range(10)))
    assert not outcome.violations, explain(outcome.history, outcome.violations[0])
    assert (
        outcome.coverage["fact.ring.installed"]
        == run(options, (0.0, Record()), crashed).coverage["fact.ring.installed"]
    )


def test_damage_changes_bytes() -> None:
    content = bytes(range(100))
    damaged = [damage(content, bits * 0x9E3779B97F4A7C15) for bits in range(1, 200)]
    assert sum(each != content for each in damaged) > 190
    assert any(len(each) < len(content) for each in damaged)
    assert damage(b"", 1) == b""


def test_a_network_replays_what_it_kept() -> None:
    arrived: list[tuple[int, int, object]] = []
    scheduler = Scheduler(10_000)
    network = Network(1, 3, short(1).weather, scheduler, lambda *arrival: arrived.append(arrival))
    network.send(1, 2, MergeDetect(RingId(1, 1)), b"before")
    network.keep()
    network.send(1, 3, MergeDetect(RingId(1, 1)), b"kept")
    network.replay(2, 1)
    network.forge(2, 3, 1)
    scheduler.run_until(5.0)
    assert sorted(content for _, _, content in arrived if isinstance(content, bytes)) == [b"before", *[b"kept"] * 3]
    assert sum(isinstance(content, Damaged) and receiver == 2 for receiver, _, content in arrived) == 3
    assert network.carried[Token] == 0


# -- clocks


def test_steps_of_the_wall_clock_have_no_effect() -> None:
    options = derive(4, "groups")
    plain = plan(options)
    steps = tuple(PlannedFault(1000 + step, 0.4 * step, StepWallClock((-10) ** step)) for step in range(1, 9))
    everything = tuple(sorted((*plain, *steps), key=lambda planned: planned.time))
    digests = {Cluster(options, script=Script(options, faults, ())).run().digest for faults in (plain, everything)}
    assert len(digests) == 1


def test_no_clock_and_no_randomness_of_the_machine_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a run depends on comes from its seed: everything else refuses."""
    options = derive(11, "groups")
    expected = Cluster(options).run()

    def forbidden(*_: object, **__: object) -> object:
        raise AssertionError("the simulated program asked the machine")

    class Forbidden(datetime.datetime):
        now = utcnow = forbidden  # type: ignore[assignment]

    for name in ("time_ns", "monotonic", "monotonic_ns", "perf_counter", "clock_gettime", "sleep"):
        monkeypatch.setattr(time, name, forbidden)
    for name in ("random", "randint", "getrandbits", "choice", "shuffle"):
        monkeypatch.setattr(random, name, forbidden)
    monkeypatch.setattr(os, "urandom", forbidden)
    monkeypatch.setattr(datetime, "datetime", Forbidden)
    outcome = Cluster(options).run()
    monkeypatch.undo()
    assert (outcome.violations, outcome.digest) == ([], expected.digest)
    assert outcome.coverage["wall_clock.read"] == 0
