"""A message's way through the trace of all processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from benchkit.hops import MESSAGE_BYTES, WAITING, Call, Trail, budget, read, walk, ways

BIG, SMALL = MESSAGE_BYTES + 40, 77


def calls(start: int = 0) -> dict[tuple[str, int], list[Call]]:
    """One message of node 1; every hop takes a microsecond more than the one before."""
    at = [start + 1_000 * number * (number + 1) // 2 for number in range(12)]
    return {
        ("member", 1): [Call(at[0], at[0] + 10, "zmq.out", BIG)],
        ("cpg", 1): [Call(at[1] - 10, at[1], "zmq.in", BIG), Call(at[2] - 10, at[2], "zmq.out", BIG)],
        ("totem", 1): [
            Call(at[3] - 10, at[3], "zmq.in", BIG),
            Call(at[3] + 400, at[3] + 500, "udp.in", SMALL),
            Call(at[4], at[4] + 900, "udp.out", BIG),
        ],
        # What is sent arrives while the call that sends it still runs.
        ("totem", 2): [Call(at[5] - 10, at[5], "udp.in", BIG), Call(at[6] - 10, at[6], "zmq.out", BIG)],
        ("cpg", 2): [
            Call(at[6], at[6] + 5, "zmq.in", SMALL),
            Call(at[7] - 10, at[7], "zmq.in", BIG),
            Call(at[8] - 10, at[8], "zmq.out", BIG),
        ],
        ("member", 2): [Call(at[9] - 10, at[9], "zmq.in", BIG)],
    }


def test_every_hop_ends_with_the_next_call_that_carries_the_message() -> None:
    spent = walk(Trail(calls()), 0, ways(1, [2])["at node 2"])
    assert spent is not None
    assert spent.pop("in all") == 45.0
    assert spent.pop(WAITING) == 0.5
    assert list(spent.values()) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("process", [("cpg", 1), ("totem", 2), ("member", 2)])
def test_a_message_whose_trail_is_lost_does_not_count(process: tuple[str, int]) -> None:
    found = calls()
    found[process] = [call._replace(size=SMALL) for call in found[process]]
    assert walk(Trail(found), 0, ways(1, [2])["at node 2"]) is None


def test_a_budget_has_the_messages_sorted() -> None:
    first, second = calls(), calls(1_000_000)
    second["member", 2] = [Call(1_040_000, 1_041_000, "zmq.in", BIG)]
    both = {process: [*first[process], *second[process]] for process in first}
    found = budget(Trail(both), 1, [2])
    assert found["at node 2"]["cpg to client"] == [5.0, 9.0]
    assert found["back at node 1"] == {}


def test_files_are_told_apart_by_their_commands(tmp_path: Path) -> None:
    def write(pid: int, *words: str) -> None:
        lines = [json.dumps(words), json.dumps([5, 6, "zmq.in", 7]), json.dumps([1, 2, "zmq.in", 3])]
        (tmp_path / str(pid)).write_text("\n".join(lines) + "\n")

    write(1, "python", "-m", "totemd.executive.totem", "--run-dir", "/x/1/run")
    write(2, "python", "-m", "totemd.services.cpg", "--run-dir", "/x/11/run")
    write(3, "python", "-P", "/somewhere/member.py", "/x/1/run", "bench", "2")
    write(4, "python", "-m", "totemd.executive", "-c", "f", "--run-dir", "/x/1/run")
    found = read(tmp_path, {1: Path("/x/1/run"), 11: Path("/x/11/run")})
    assert set(found) == {("totem", 1), ("cpg", 11), ("member", 1)}
    assert found["totem", 1] == [Call(1, 2, "zmq.in", 3), Call(5, 6, "zmq.in", 7)]
