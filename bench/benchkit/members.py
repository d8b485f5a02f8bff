"""The members of one group, a process on each node, and what they have measured together."""

from __future__ import annotations

import contextlib
import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from totemd.testing import Cluster

from . import member

GROUP = "bench"

PATIENCE_SECONDS = member.PATIENCE_SECONDS + 30.0
"""How long an answer may take; a member gives up earlier, and says why."""

END_SECONDS = 3.0

Answers = dict[int, dict[str, Any]]
"""Node -> what its member says."""


class BenchError(Exception):
    """There is no figure: a member ended, or the members did not receive the same."""


class Members:
    """`with Members(cluster) as members:`; a member of one group on every node."""

    def __init__(self, cluster: Cluster, environment: Mapping[str, str] | None = None) -> None:
        words = [GROUP, str(len(cluster))]
        self._processes = {
            node.node_id: subprocess.Popen(
                [sys.executable, "-P", member.__file__, str(node.run_dir), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                env={**os.environ, **(environment or {})},
            )
            for node in cluster
        }

    def __enter__(self) -> Members:
        with contextlib.ExitStack() as building:
            building.callback(self.close)
            self._read_all()
            building.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """Their processes."""
        return [process.pid for process in self._processes.values()]

    @property
    def nodes(self) -> list[int]:
        """Where they are."""
        return list(self._processes)

    def flood(self, size: int, seconds: float, senders: Sequence[int]) -> dict[str, float]:
        """Messages of *size* bytes from all *senders* at once; the slowest member's rate, first delivery to last.

        Raises:
            BenchError: they did not all receive the same messages in the same order.
        """
        answers = self.ask("flood", senders, size=size, seconds=seconds, senders=list(senders))
        took = max(each["seconds"] for each in answers.values())
        count, volume = (answers[senders[0]][name] for name in ("messages", "bytes"))
        if count < 2 or not took:
            raise BenchError(f"{count} messages are no flood; let it last longer")
        rate = (count - 1) / took
        return {
            "messages": count,
            "megabytes": volume / 1e6,
            "messages_per_second": rate,
            "megabytes_per_second": rate * volume / count / 1e6,
        }

    def ping(self, size: int, count: int, sender: int, pause: float = 0.0) -> dict[str, list[int]]:
        """Microseconds of each message, sorted, one outstanding: back at the sender, and at the slowest other member.

        Raises:
            BenchError: as for `flood`.
        """
        answers = self.ask("ping", [sender], size=size, count=count, sender=sender, pause=pause)
        delays: dict[int, list[int]] = {node: answer["delays_us"] for node, answer in answers.items()}
        near = delays.pop(sender)
        return {"near": near, "far": max(delays.values(), key=statistics.median, default=near)}

    def connect(self, count: int, node: int) -> dict[str, list[float]]:
        """Seconds of each of so many fresh clients: until it was connected, and from then until it had joined."""
        answer = self.ask("connect", [node], count=count, node=node)[node]
        return {"connect": answer["connect_seconds"], "join": answer["join_seconds"]}

    def ask(self, verb: str, last: Iterable[int], **arguments: Any) -> Answers:
        """Have all members do it.  Those of *last* are told when everybody else listens."""
        line = json.dumps({"do": verb, **arguments}) + "\n"
        for node in sorted(self._processes, key=set(last).__contains__):
            stdin = self._processes[node].stdin
            assert stdin is not None
            stdin.write(line)
        answers = {node: json.loads(answer) for node, answer in self._read_all().items()}
        _check(answers)
        return answers

    def close(self) -> None:
        """End them: at the end of their input, or by a signal if they are not listening."""
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes.values():
            with process:
                try:
                    process.wait(END_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()

    def _read_all(self) -> dict[int, str]:
        end = time.monotonic() + PATIENCE_SECONDS
        answers = {}
        for node, process in self._processes.items():
            assert process.stdout is not None
            # One line answers one command, so nothing of it waits in the buffer of the file.
            if not select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                raise BenchError(f"the member on node {node} did not answer within {PATIENCE_SECONDS:g} s")
            answers[node] = process.stdout.readline()
            if not answers[node]:
                raise BenchError(f"the member on node {node} ended with code {process.wait()}")
        return answers


def _check(answers: Answers) -> None:
    """There is a figure only if all members received the same, in the same order, from one membership."""
    seen = {node: [answer.get(name) for name in ("messages", "bytes", "chain")] for node, answer in answers.items()}
    if len({tuple(each) for each in seen.values()}) != 1:
        raise BenchError(f"the members did not receive the same: {seen}")
    changes = {node: answer["changes"] for node, answer in answers.items() if answer.get("changes")}
    if changes:
        raise BenchError(f"the membership changed meanwhile: {changes}")
