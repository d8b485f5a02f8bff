"""Seeded storms over replicas: faults and writes in any order, and what must hold whatever happens."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from stage import Actor, Journal, Stage
from totemd.ipc.ids import RingId
from totemd.services.replica import transfer
from totemd.services.replica.effects import Status
from totemd.services.replica.errors import OutcomeUnknown
from totemd.services.replica.policy import Majority, Policy

SMALL_CHUNK = 300
"""So that a transfer takes many messages."""


class Storm:
    """One run."""

    def __init__(
        self,
        seed: int,
        policy: Policy,
        nodes: int,
        machine: Any = Journal,
        steps: int = 150,
        *,
        actor: type[Actor] = Actor,
        pids: Sequence[int] = (7,),
        padding: int | None = 3000,
    ) -> None:
        made = machine if padding is None else lambda: machine(padding=padding)
        self.stage = Stage(nodes, policy, pids=pids, machine=made, seed=seed, actor=actor)
        self.random = self.stage.random
        self.steps = steps
        self.majority = isinstance(policy, Majority)
        self.dead: list[Actor] = []
        self.floor: dict[RingId, int] = {}
        """How far anybody has delivered each ring's order in a regular configuration."""
        self.events: list[str] = []

    def run(self) -> None:
        stage = self.stage
        early = len(stage.nodes) if self.majority else self.random.randint(1, len(stage.nodes))
        stage.start(*self.random.sample(sorted(stage.nodes), early))
        stage.settle()
        for _ in range(self.steps):
            self.something()
            self.check()
        stage.start()
        stage.settle()
        self.note_deliveries()
        self.repair()
        self.check_end()

    def something(self) -> None:
        pick = self.random.random()
        if pick < 0.35:
            for _ in range(self.random.randint(1, 12)):
                self.little()
        elif pick < 0.65:
            for _ in range(self.random.randint(1, 25)):
                self.stage.step()
            self.note_deliveries()
        elif pick < 0.88:
            for _ in range(self.random.randint(1, 3)):
                self.random.choice(self.stage.actors()).propose(self.random.choice((0, 0, 100)))
        else:
            self.fault()

    def little(self) -> None:
        """One step of one process."""
        node = self.random.choice(list(self.stage.nodes.values()))
        actor = self.random.choice(self.stage.actors())
        step = self.random.choice((node.originate, node.deliver, node.serve, actor.take, actor.take, actor.talk))
        step()
        self.note_deliveries()

    def fault(self) -> None:
        node = self.random.choice(list(self.stage.nodes.values()))
        kind = self.random.choice(
            (
                *("split", "split", "unite", "unite", "unite", "crash", "boot", "service", "serve"),
                *("kill", "kill", "start", "start", "start", "mend", "mend", "time"),
            )
        )
        self.events.append(f"{kind} {node.node_id}")
        match kind:
            case "split":
                self.split()
            case "unite":
                self.regroup([set(self.stage.nodes)])
            case "mend":
                self.mend()
                self.regroup([set(self.stage.nodes)])
            case "crash" if node.up:
                node.crash()
            case "boot" if not node.up:
                node.boot()
                node.attach()
            case "service":
                node.kill_service()
            case "serve":
                if node.engine is None:
                    node.start_service()
                node.attach()
            case "kill" if self.may_forget(node.node_id):
                index = self.random.randrange(len(node.members)) if len(node.members) > 1 else 0
                self.dead.append(self.stage.actor(node.node_id, node.members[index].pid))
                self.stage.kill(node.node_id, index)
            case "start":
                self.stage.start(node.node_id)
            case "time":
                self.stage.now += self.random.choice((0.5, 4.0, 12.0))
                for actor in self.stage.actors():
                    actor.tick()

    def may_forget(self, node: int) -> bool:
        """With a majority: as long as the rest of the working part is one, nothing acknowledged can be forgotten."""
        if not self.majority:
            return True
        mates = [actor for actor in self.stage.actors() if actor.node.node_id != node]
        working = [actor for actor in mates if actor.status is Status.ACTIVE]
        sessions = {self.session(actor) for actor in working}
        return len({actor.node for actor in working}) * 2 > len(self.stage.nodes) and len(sessions) == 1

    def split(self) -> None:
        nodes = sorted(self.stage.nodes)
        self.random.shuffle(nodes)
        at = self.random.randint(1, len(nodes) - 1)
        parts = [set(nodes[:at]), set(nodes[at:])]
        if not self.majority and self.random.random() < 0.5:
            parts.pop()  # The others will find out later.
        self.regroup(parts)

    def regroup(self, parts: list[set[int]]) -> None:
        """What was safe stays safe: nobody's cut is before what somebody delivered in the regular configuration."""
        self.note_deliveries()
        extra = self.random.randint(0, 3)
        if self.majority:
            extra += max(0, *(self.floor[node.ring.ring_id] - node.delivered for node in self.stage.nodes.values()))
        for part in parts:
            self.stage.regroup(part, extra, 0 if self.majority else self.random.randint(0, 2))

    def note_deliveries(self) -> None:
        for node in self.stage.nodes.values():
            ring = node.ring.ring_id
            self.floor[ring] = max(self.floor.get(ring, 0), node.delivered)

    def repair(self) -> None:
        stage = self.stage
        self.mend()
        stage.settle()
        self.note_deliveries()
        self.regroup([set(stage.nodes)])
        stage.settle()
        stage.start()
        for _ in range(8):
            stage.pass_time(10.0)

    def mend(self) -> None:
        for node in self.stage.nodes.values():
            if not node.up:
                node.boot()
            if node.engine is None:
                node.start_service()
            node.attach()

    # -- what must hold

    @staticmethod
    def session(actor: Actor) -> bytes:
        assert actor.driver is not None
        history = actor.driver.core.follower.history
        return b"" if history is None else history.session

    def check(self) -> None:
        live = [actor for actor in self.stage.actors() if actor.driver is not None and actor.driver.core.follower.live]
        for one, other in itertools.combinations(live, 2):
            if self.session(one) == self.session(other):
                mine, theirs = one.journal.entries, other.journal.entries
                common = min(len(mine), len(theirs))
                assert mine[:common] == theirs[:common], "one session, two states"
        for actor in live:
            commands = [entry for entry in actor.journal.entries if not entry.startswith(b"members")]
            assert len(set(commands)) == len(commands), "a command was applied twice"

    def check_end(self) -> None:
        actors = self.stage.actors()
        assert [actor.status for actor in actors] == [Status.ACTIVE] * len(actors)
        states = [actor.journal.entries for actor in actors]
        assert all(state == states[0] for state in states), "states differ"
        for actor in actors:
            left = [text for text in actor.tickets.values() if text not in actor.outcomes]
            assert not left, f"no outcome for {left}"
            for text, outcome in actor.outcomes.items():
                assert outcome.error is None or isinstance(outcome.error, OutcomeUnknown)
                assert text
        acknowledged = {text for _, text in self.stage.acknowledged}
        lost = acknowledged - set(states[0])
        if self.majority:
            assert not lost, f"acknowledged and lost: {sorted(lost)}"
        gone = {entry for actor in self.dead for entry in actor.journal.entries}
        gone |= {entry for actor in actors for state in actor.journal.superseded_with for entry in state}
        gone |= {entry for actor in self.dead for state in actor.journal.superseded_with for entry in state}
        assert lost <= gone, f"lost without a merge: {sorted(lost - gone)}"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "CHUNK_BYTES_MAX", SMALL_CHUNK)
    monkeypatch.setattr(transfer, "CHUNKS_IN_FLIGHT_MAX", 2)
