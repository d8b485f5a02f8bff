"""Where a message was when: the trace of all processes of a cluster, read hop by hop.

One message is outstanding at a time and it is longer than anything else that moves, so a call that moves so many bytes
is a hop of it.
"""

from __future__ import annotations

import bisect
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

MESSAGE_BYTES = 1_000
"""Of the messages that are followed."""

TOKEN_BYTES_MAX = 300


WAITING = "of that: waiting for the token"


class Call(NamedTuple):
    """Nanoseconds."""

    began: int
    ended: int
    kind: str
    size: int


Process = tuple[str, int]
"""`member`, `cpg` or `totem`, and its node."""


def read(folder: Path, run_dirs: Mapping[int, Path]) -> dict[Process, list[Call]]:
    """What `trace/sitecustomize.py` wrote, of nodes with these run directories."""
    calls: dict[Process, list[Call]] = {}
    for path in folder.iterdir():
        first, *lines = path.read_text().splitlines()
        words = json.loads(first)
        name = _name(words)
        for node, run_dir in run_dirs.items():
            if name and str(run_dir) in words:
                calls[name, node] = sorted(Call(*json.loads(line)) for line in lines)
    return calls


def _name(words: Iterable[str]) -> str:
    marks = {"totemd.executive.totem": "totem", "totemd.services.cpg": "cpg", "member.py": "member"}
    return next((name for word in words for mark, name in marks.items() if word.endswith(mark)), "")


class Trail:
    """The calls of all processes, to be asked for the next one."""

    def __init__(self, calls: Mapping[Process, Iterable[Call]]) -> None:
        self._of: dict[tuple[Process, str], list[Call]] = defaultdict(list)
        for process, each in calls.items():
            for call in each:
                if call.size >= MESSAGE_BYTES:
                    self._of[process, call.kind].append(call)
                elif call.kind == "udp.in" and call.size <= TOKEN_BYTES_MAX:
                    self._of[process, "token"].append(call)
        self._ends = {key: [call.ended for call in each] for key, each in self._of.items()}

    def sent(self, sender: Process) -> list[Call]:
        """The messages."""
        return self._of[sender, "zmq.out"]

    def next(self, process: Process, kind: str, after: int) -> Call | None:
        """The first such call that ended after that."""
        at = bisect.bisect_left(self._ends.get((process, kind), []), after)
        calls = self._of.get((process, kind), [])
        return calls[at] if at < len(calls) else None

    def last(self, process: Process, kind: str, before: int) -> Call | None:
        """The last such call that ended before that."""
        at = bisect.bisect_left(self._ends.get((process, kind), []), before)
        return self._of[process, kind][at - 1] if at else None


class Step(NamedTuple):
    """The next hop of a way: the call of a process that ends it."""

    name: str
    process: Process
    kind: str
    at_begin: bool = False
    """It ends where the call begins: what is sent may have arrived before the call returns."""


def ways(sender: int, others: Iterable[int]) -> dict[str, list[Step]]:
    """Receiver -> the way of a message to it."""
    start = [
        Step("client to cpg", ("cpg", sender), "zmq.in"),
        Step("cpg", ("cpg", sender), "zmq.out"),
        Step("cpg to totem", ("totem", sender), "zmq.in"),
        Step("token and visit, until the frame goes out", ("totem", sender), "udp.out", at_begin=True),
    ]

    def end(node: int) -> list[Step]:
        return [
            Step("totem to cpg", ("cpg", node), "zmq.in"),
            Step("cpg, delivering", ("cpg", node), "zmq.out"),
            Step("cpg to client", ("member", node), "zmq.in"),
        ]

    own = Step("the sender's totem delivers", ("totem", sender), "zmq.out")
    found = {f"back at node {sender}": [*start, own, *end(sender)]}
    for node in others:
        arrival = Step("wire", ("totem", node), "udp.in")
        delivery = Step("open, order, deliver", ("totem", node), "zmq.out")
        found[f"at node {node}"] = [*start, arrival, delivery, *end(node)]
    return found


def walk(trail: Trail, began: int, way: Iterable[Step]) -> dict[str, float] | None:
    """Microseconds of each hop of one message, and in all; None if its trail is lost."""
    at, spent = began, {}
    for step in way:
        call = trail.next(step.process, step.kind, at)
        if call is None:
            return None
        there = call.began if step.at_begin else call.ended
        spent[step.name] = (there - at) / 1_000
        if step.kind == "udp.out" and (token := trail.last(step.process, "token", there)) is not None:
            spent[WAITING] = max(0, token.ended - at) / 1_000
        at = there
    return spent | {"in all": (at - began) / 1_000}


def budget(trail: Trail, sender: int, others: Iterable[int]) -> dict[str, dict[str, list[float]]]:
    """Receiver -> hop -> microseconds of every message, sorted."""
    found: dict[str, dict[str, list[float]]] = {}
    for receiver, way in ways(sender, others).items():
        hops: dict[str, list[float]] = defaultdict(list)
        for message in trail.sent(("member", sender)):
            for name, spent in (walk(trail, message.began, way) or {}).items():
                hops[name].append(spent)
        found[receiver] = {name: sorted(each) for name, each in hops.items()}
    return found
