"""The members of a run: one on each node, started again when they are killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaoskit import records
from totemd.testing import Cluster, NotInTime, wait_until

PROGRAM = Path(__file__).with_name("member.py")
GROUP = "chaos"

LAST_SECONDS = 5.0
"""After which last messages are sent again."""

END_SECONDS = 20.0
"""How long members may take to leave at the end."""


@dataclass
class _Running:
    process: subprocess.Popen[str]
    history: Path
    incarnation: int


class Members:
    """`members.start(1)`, `members.kill(1)` …; everything they saw is in `read`."""

    def __init__(self, cluster: Cluster, directory: Path, rate: float, say: Callable[[str], None]) -> None:
        self._cluster, self._directory, self._rate, self._say = cluster, directory, rate, say
        self._running: dict[int, _Running] = {}
        self._killed: list[Path] = []
        self._started = 0

    def start(self, node: int) -> None:
        """Start a member on a node that has none."""
        self._started += 1
        history = self._directory / f"member-{node}-{self._started}.jsonl"
        arguments = [str(self._cluster[node].run_dir), GROUP, str(node), str(self._started), str(self._rate)]
        with (self._directory / "members.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), *arguments, str(history)],
                stdin=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._running[node] = _Running(process, history, self._started)

    def kill(self, node: int) -> None:
        """SIGKILL the member of a node."""
        member = self._running.pop(node)
        member.process.kill()
        member.process.communicate()
        self._killed.append(member.history)

    def broken(self) -> list[str]:
        """Members that ended by themselves, which none should."""
        return [
            f"the member on node {node} ended with code {member.process.returncode}:\n{self.log()}"
            for node, member in self._running.items()
            if member.process.poll() is not None
        ]

    def tell(self, order: str) -> None:
        """Give all of them an order; see `member.py`."""
        for member in self._running.values():
            assert member.process.stdin is not None
            member.process.stdin.write(f"{order}\n")
            member.process.stdin.flush()

    def settle(self, seconds: float) -> None:
        """Send no more; return when all have got all that was sent: the same last message of each.

        Last messages are sent again as long as not everybody gets them, since somebody may still be joining.
        """
        self.tell("quiet")
        deadline = time.monotonic() + seconds
        while True:
            self.tell("last")
            try:
                wait_until(self._have_the_last, LAST_SECONDS, "")
                return
            except NotInTime:
                self._say(f"no common end yet; last messages seen: {self._ends()}")
                if time.monotonic() > deadline:
                    raise NotInTime(f"no common end within {seconds:g} s; {self._where()}") from None

    def end(self) -> None:
        """Let all of them leave."""
        for member in self._running.values():
            assert member.process.stdin is not None
            member.process.stdin.close()
        for node, member in self._running.items():
            code = member.process.wait(END_SECONDS)
            if code != 0:
                raise AssertionError(f"the member on node {node} ended with code {code}:\n{self.log()}")

    def close(self) -> None:
        """SIGKILL whoever still runs."""
        for member in self._running.values():
            member.process.kill()
            if member.process.stdin is not None and not member.process.stdin.closed:
                member.process.stdin.close()
            member.process.wait()

    def read(self) -> records.Records:
        """The histories of all so far."""
        result = records.Records()
        for path in self._killed:
            result.add(records.read(path), survived=False)
        for member in self._running.values():
            result.add(records.read(member.history), survived=True)
        return result

    def log(self) -> str:
        """What members had to complain about."""
        path = self._directory / "members.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _have_the_last(self) -> bool:
        first, *others = self._ends().values()
        senders = {message[:2] for message in first}
        return len(senders) == len(self._running) and all(end == first for end in others)

    def _ends(self) -> dict[int, list[tuple[int, ...]]]:
        return {node: self._last_messages(member.history) for node, member in self._running.items()}

    def _last_messages(self, history: Path) -> list[tuple[int, ...]]:
        lasts = [tuple(json.loads(line)[2]) for line in records.tail(history) if line.startswith('["last"')]
        return lasts[-len(self._running) :]

    def _where(self) -> str:
        return "\n".join(
            f"node {node}: …{[line[:200] for line in records.tail(member.history)[-3:]]}"
            for node, member in self._running.items()
        )
