"""Three senders, mixed sizes, a kill and a return: what was delivered is compared message by message."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from kit.command import environment
from kit.full import sized
from kit.history import FIN
from kit.members import common_order_agrees
from totemd.testing import Cluster

MESSAGES = sized(1_000, 20_000)
SECONDS = sized(120, 1800)
PROGRAM = Path(__file__).with_name("kit") / "history.py"
GROUP = "history"

Event = list[Any]


class Histories:
    """The senders' processes and what they wrote."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self._results = {node.node_id: directory / f"{node.node_id}.json" for node in cluster}
        self._processes = {
            node.node_id: subprocess.Popen(
                [
                    *(sys.executable, str(PROGRAM), str(node.run_dir), GROUP, str(MESSAGES)),
                    *(str(node.node_id), str(self._results[node.node_id])),
                ],
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
            )
            for node in cluster
        }

    def wait_for(self, word: str) -> None:
        """Until every sender has said it."""
        for node_id, process in self._processes.items():
            assert process.stdout is not None
            assert process.stdout.readline().strip() == word, f"sender {node_id} has ended"

    def read(self) -> dict[int, dict[str, Any]]:
        """The results, once the senders have ended by themselves."""
        for process in self._processes.values():
            assert process.wait(timeout=60) == 0
        return {node_id: json.loads(path.read_text()) for node_id, path in self._results.items()}

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.communicate()


def after(events: list[Event], members: int) -> list[Event]:
    """What came with and after the first change to so many members."""
    first = next(index for index, event in enumerate(events) if event[0] == "c" and len(event[1]) == members)
    return events[first:]


def messages(events: list[Event], sender: int | None = None) -> list[tuple[int, str]]:
    return [(event[1], event[2]) for event in events if event[0] == "m" and sender in (None, event[1])]


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(each in rest for each in part)


@pytest.mark.timeout(SECONDS)
def test_survivors_agree_lose_nothing_and_get_nothing_twice(tmp_path: Path) -> None:
    with Cluster(3, token=1000, token_coefficient=0) as cluster:
        histories = Histories(cluster, tmp_path)
        try:
            histories.wait_for("joined")
            histories.wait_for("quarter")
            cluster[3].kill()
            cluster.wait_for_ring({1, 2})
            cluster[3].start()
            cluster.wait_for_ring({1, 2, 3})
            histories.wait_for("sent")
            with cluster[1].client() as client, client.join(GROUP) as group:
                group.mcast(FIN)
                results = histories.read()
        finally:
            histories.close()
    events = {node_id: result["events"] for node_id, result in results.items()}
    assert after(events[1], 3) == after(events[2], 3), "survivors see one history, changes and messages"
    for survivor in (1, 2):
        for sender in (1, 2):
            delivered = [name for _, name in messages(events[survivor], sender)]
            sent = results[sender]["sent"]
            assert delivered == sent[len(sent) - len(delivered) :]
            assert survivor != sender or len(delivered) == MESSAGES, "self delivery"
        assert is_subsequence([name for _, name in messages(events[survivor], 3)], results[3]["sent"])
    away = events[3].index(["rejoined"])
    before, back = events[3][:away], events[3][away + 1 :]
    assert back[0][0] == "c"
    assert back == events[1][len(events[1]) - len(back) :], "who comes back sees what the others see from there on"
    # The shortest messages are not unique; what is compared is.
    times = Counter(messages(events[1]))
    assert common_order_agrees(
        *([each for each in one if times[each] == 1] for one in (messages(before), messages(events[1])))
    )
