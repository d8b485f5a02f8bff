"""What the applications of a run submit: bursts of messages, their times, sizes and guarantees drawn from the seed."""

from __future__ import annotations

from collections.abc import Sequence

from simcluster.chance import Chance
from simcluster.node import Node
from simcluster.options import Options
from simcluster.scenario import Request
from simcluster.scheduler import Scheduler

FRAMES_PER_MESSAGE_MAX = 6
CREDIT_FRAMES = 8
"""A node with more than so many frames in its queue submits nothing: services have credit, too."""


AROUND_FAULT_LOW, AROUND_FAULT_HIGH = -0.06, 0.15
"""Seconds before and after a fault within which each sender submits: what is under way then is what counts."""
AROUND_FAULT_MESSAGES_MAX = 7


class Workload:
    """Submits at every sending node until *end*: in bursts of its own pace, and around each fault."""

    def __init__(
        self, options: Options, scheduler: Scheduler, nodes: Sequence[Node], fault_times: Sequence[float], end: float
    ) -> None:
        self.submitted = 0
        self.requests: list[Request] = []
        """What was submitted, as a script says it."""
        self._options = options
        self._scheduler = scheduler
        self._end = end
        self._left = {node.id: options.load.messages_max for node in nodes}
        only = Chance(options.seed, "only sender").integer(1, options.nodes)
        for node in nodes:
            if options.load.senders == "all" or (options.load.senders == "one" and node.id == only):
                self._schedule(node, fault_times)

    def _schedule(self, node: Node, fault_times: Sequence[float]) -> None:
        chance = Chance(self._options.seed, "workload", node.id)
        self._scheduler.at(chance.between(0, self._options.load.pause), self._burst, (node, chance))
        for index, time in enumerate(fault_times):
            near = Chance(self._options.seed, "workload", node.id, index)
            for _ in range(near.integer(0, AROUND_FAULT_MESSAGES_MAX)):
                when = max(0.0, time + near.between(AROUND_FAULT_LOW, AROUND_FAULT_HIGH))
                self._scheduler.at(when, self._single, (node, near))

    def _single(self, turn: object) -> None:
        assert isinstance(turn, tuple)
        self._submit(*turn)

    def _burst(self, turn: object) -> None:
        assert isinstance(turn, tuple)
        node, chance = turn
        load, now = self._options.load, self._scheduler.now
        if now > self._end or self._left[node.id] <= 0:
            return
        for _ in range(chance.integer(1, load.burst)):
            self._left[node.id] -= 1
            self._submit(node, chance)
        self._scheduler.at(now + load.pause * 2 * chance.fraction(), self._burst, turn)

    def _submit(self, node: Node, chance: Chance) -> None:
        load, frame = self._options.load, self._options.ring.frame_bytes
        longest = min(load.bytes_max, FRAMES_PER_MESSAGE_MAX * frame)
        size = int(chance.spread(1, longest + 1))
        safe = chance.happens(load.safe)
        pattern = chance.bits().to_bytes(8, "big")
        if node.ring is not None and not node.paused and node.ring.backlog_bytes < CREDIT_FRAMES * frame:
            self.submitted += 1
            self.requests.append(Request(self._scheduler.now, node.id, size, safe))
            node.submit((pattern * (size // 8 + 1))[:size], safe=safe)


class ScriptedLoad:
    """Submits what a script says, at nodes that are up then."""

    def __init__(self, scheduler: Scheduler, nodes: Sequence[Node], requests: Sequence[Request]) -> None:
        self.submitted = 0
        self.requests = list(requests)
        self._nodes = nodes
        for turn in enumerate(requests):
            scheduler.at(turn[1].time, self._submit, turn)

    def _submit(self, turn: object) -> None:
        assert isinstance(turn, tuple)
        index, request = turn
        self.submitted += 1
        self._nodes[request.node - 1].submit(request.payload(index), safe=request.safe)
