"""The judge finds what is wrong in histories, and nothing in good ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from logging import LogRecord
from typing import Any

import pytest
from chaoskit import blackbox
from chaoskit.judge import configurations, judge, nodes_history
from chaoskit.records import Ending, Records
from simcluster.history import Regular, RingKey
from structlog.testing import CapturingLogger
from totemd.executive.config.model import LoggingOptions
from totemd.executive.runtime.lines import TextFormatter
from totemd.executive.totem.core.effects import Fact, Level
from totemd.executive.totem.links.complaints import Complaints
from totemd.executive.totem.log_words import say

JOIN, LEAVE, NODE_DOWN, NODE_UP, PROCESS_DOWN = 1, 2, 3, 4, 5
AGREED, SAFE = 2, 3
ONE, TWO, THREE = (1, 101), (2, 102), (3, 103)

Record = list[Any]


@dataclass
class Story:
    """The files of three members: one joined first, then two, then three; all the same since."""

    files: dict[tuple[int, int], list[Record]] = field(default_factory=dict)
    _now: float = 0.0

    def tell(self, to: Sequence[tuple[int, int]], kind: str, *fields: Any) -> None:
        self._now += 1
        for each in to:
            self.files.setdefault(each, []).append([kind, self._now, *fields])

    def change(
        self,
        to: Sequence[tuple[int, int]],
        members: Sequence[tuple[int, int]],
        joined: Sequence[tuple[int, int, int]] = (),
        left: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        self.tell(to, "change", members, joined, left)

    def send(self, sender: tuple[int, int], number: int, guarantee: int = AGREED) -> None:
        self.tell([sender], "send", number, guarantee, 1000 + number)

    def deliver(
        self, to: Sequence[tuple[int, int]], sender: tuple[int, int], number: int, guarantee: int = AGREED
    ) -> None:
        self.tell(to, "message", (sender[0], sender[0], number), sender, guarantee, 1000 + number, (4, 1))

    def records(self, killed: Sequence[tuple[int, int]] = ()) -> Records:
        result = Records()
        for who, file in self.files.items():
            lines = [json.dumps(record) for record in file]
            result.add([json.dumps(["hello", 0.0, who[0], who[0], who]), *lines], survived=who not in killed)
        return result


def good() -> Story:
    """Three members, some messages, a partition of three from the others, and its end."""
    story = Story()
    everybody, both = (ONE, TWO, THREE), (ONE, TWO)
    story.change([ONE], [ONE], joined=[(*ONE, JOIN)])
    story.change(both, [ONE, TWO], joined=[(*TWO, JOIN)])
    story.change(everybody, [ONE, TWO, THREE], joined=[(*THREE, JOIN)])
    for number in range(3):
        story.send(ONE, number, SAFE)
        story.deliver(everybody, ONE, number, SAFE)
        story.send(TWO, number)
        story.deliver(everybody, TWO, number)
    story.send(THREE, 0)
    story.change(both, both, left=[(*THREE, NODE_DOWN)])
    story.tell(both, "ring", (8, 1), (1, 2))
    story.change([THREE], [THREE], left=[(*ONE, NODE_DOWN), (*TWO, NODE_DOWN)])
    story.tell([THREE], "ring", (8, 3), (3,))
    story.deliver([THREE], THREE, 0)
    story.send(ONE, 3)
    story.deliver(both, ONE, 3)
    story.change(both, everybody, joined=[(*THREE, NODE_UP)])
    story.change([THREE], everybody, joined=[(*ONE, NODE_UP), (*TWO, NODE_UP)])
    story.tell(everybody, "ring", (12, 1), (1, 2, 3))
    for sender, number in ((ONE, 4), (TWO, 3), (THREE, 1)):
        story.send(sender, number)
        story.deliver(everybody, sender, number)
    return story


def found(story: Story, **options: Any) -> set[str]:
    return {violation.prop for violation in judge(story.records(**options), {})}


def messages(file: list[Record]) -> list[int]:
    """The places of received messages in a file."""
    return [place for place, record in enumerate(file) if record[0] == "message"]


def swap_two_messages(story: Story) -> None:
    file = story.files[TWO]
    first, second, *_ = messages(file)
    file[first][2:], file[second][2:] = file[second][2:], file[first][2:]


def forget_a_message(story: Story) -> None:
    file = story.files[TWO]
    del file[messages(file)[2]]


def deliver_twice(story: Story) -> None:
    file = story.files[TWO]
    file.insert(messages(file)[0], file[messages(file)[0]])


def alter_bytes(story: Story) -> None:
    file = story.files[THREE]
    file[messages(file)[0]] = [*file[messages(file)[0]][:5], 77, (4, 1)]


def weaken_the_guarantee(story: Story) -> None:
    for file in story.files.values():
        file[messages(file)[0]] = [*file[messages(file)[0]][:4], AGREED, *file[messages(file)[0]][5:]]


def invent_a_message(story: Story) -> None:
    story.deliver([ONE, TWO, THREE], ONE, 5)


def part_on_one_side_only(story: Story) -> None:
    story.files[THREE] = [
        [*record[:3], [move for move in record[3] if move[0] != 1], [move for move in record[4] if move[0] != 1]]
        if record[0] == "change" and record[3] != [(*THREE, JOIN)]
        else record
        for record in story.files[THREE]
    ]


def hear_a_stranger(story: Story) -> None:
    story.send((4, 104), 0)
    story.deliver([ONE, TWO, THREE], (4, 104), 0)


def miscount_members(story: Story) -> None:
    change = next(record for record in story.files[TWO] if record[0] == "change" and len(record[2]) == 3)
    change[2] = [ONE, THREE]


def forget_an_own_message(story: Story) -> None:
    for file in story.files.values():
        del file[messages(file)[-1]]


def disagree_on_a_ring(story: Story) -> None:
    ring = [record for record in story.files[TWO] if record[0] == "ring"][-1]
    ring[3] = (1, 2)


def answer_before_the_question(story: Story) -> None:
    """Everybody gets what TWO sent after it had seen ONE's message before that message, but not TWO itself."""
    for who in (ONE, THREE):
        file = story.files[who]
        first, second, *_ = messages(file)
        file[first][2:], file[second][2:] = file[second][2:], file[first][2:]
    story.files[TWO] = [record for record in story.files[TWO] if record[0] != "message" or record[3] != TWO]


def remain_alone_in_the_end(story: Story) -> None:
    story.change([ONE], [ONE, TWO], left=[(*THREE, PROCESS_DOWN)])


def test_a_good_history_is_good() -> None:
    assert found(good()) == set()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (swap_two_messages, {"B3", "B6"}),
        (forget_a_message, {"B6", "B4"}),
        (deliver_twice, {"E2", "B4", "B6"}),
        (alter_bytes, {"E16"}),
        (weaken_the_guarantee, {"E16"}),
        (invent_a_message, {"E1"}),
        (part_on_one_side_only, {"B6", "B1"}),
        (hear_a_stranger, {"B2"}),
        (miscount_members, {"B1", "B6"}),
        (forget_an_own_message, {"B5"}),
        (disagree_on_a_ring, {"E5", "B6"}),
        (answer_before_the_question, {"B3"}),
        (remain_alone_in_the_end, {"B7"}),
    ],
)
def test_what_is_wrong_is_found(spoil: Callable[[Story], None], expected: set[str]) -> None:
    story = good()
    spoil(story)
    assert expected <= found(story)


def test_who_is_killed_owes_nothing_from_then_on() -> None:
    story = good()
    del story.files[THREE][-1]
    gone = [(*THREE, PROCESS_DOWN)]
    story.change([ONE, TWO], [ONE, TWO], left=gone)
    assert found(story, killed=[THREE]) == set()
    assert found(story) >= {"B5", "B6", "B7"}


def test_who_was_away_begins_anew() -> None:
    story = good()
    story.change([ONE, TWO], [ONE, TWO], left=[(*THREE, PROCESS_DOWN)])
    story.send(ONE, 5)
    story.deliver([ONE, TWO], ONE, 5)
    story.tell([THREE], "rejoined", 0)
    story.change([ONE, TWO, THREE], [ONE, TWO, THREE], joined=[(*THREE, JOIN)])
    for sender, number in ((THREE, 2), (ONE, 6), (TWO, 4)):
        story.send(sender, number)
        story.deliver([ONE, TWO, THREE], sender, number)
    assert found(story) == set()
    assert [life.ending for life in story.records().lives] == [Ending.OPEN, Ending.OPEN, Ending.AWAY, Ending.OPEN]
    del story.files[THREE][-2]
    assert "B6" in found(story)


def torn(*, answered: bool = True, heard: bool = False) -> Story:
    """A safe message that TWO has got, and THREE, which went another way, only if *heard*; *answered* shows where."""
    story = Story()
    everybody, both = (ONE, TWO, THREE), (ONE, TWO)
    for who in everybody:
        story.change([who], everybody, joined=[(*who, JOIN)])
    story.tell(everybody, "ring", (4, 1), (1, 2, 3))
    story.send(ONE, 0, SAFE)
    story.deliver([ONE, TWO, *([THREE] if heard else [])], ONE, 0, SAFE)
    story.send(TWO, 0)
    if answered:
        story.deliver(both, TWO, 0)
    for part in (both, [THREE]):
        story.change(part, part, left=[(*who, NODE_DOWN) for who in everybody if who not in part])
        story.tell(part, "ring", (8, part[0][0]), tuple(node for node, _ in part))
    return story


def unsafe(story: Story, *killed: tuple[int, int]) -> list[str]:
    return [str(violation) for violation in blackbox.b8_safe(story.records(killed))]


def test_what_was_safe_while_the_ring_stood_was_got_by_all_who_outlived_it() -> None:
    assert "m1.1.0 was safe on ring 1.4; member 3:103 (#3) never got it from 1.4 to ring 3.8" in unsafe(torn())[0]
    assert unsafe(torn(heard=True)) == []


def test_a_safe_message_that_may_have_come_in_the_transition_is_for_those_who_go_together() -> None:
    """TWO cannot show that it was on the ring still: THREE may have been given up when it got the message."""
    assert unsafe(torn(answered=False)) == []


def test_who_fails_on_the_ring_need_not_have_got_what_is_safe() -> None:
    story = torn()
    story.files[THREE] = story.files[THREE][:2]
    assert unsafe(story, THREE) == []
    assert unsafe(story) != [], "it is there in the end, and has stayed"


def test_a_cycle_over_three_members_is_found_though_no_two_disagree() -> None:
    story = Story()
    for who, numbers in ((ONE, (0, 1)), (TWO, (1, 2)), (THREE, (2, 0))):
        story.change([who], [who], joined=[(*who, JOIN)])
        for number in numbers:
            story.deliver([who], ((1, 101), (2, 102), (3, 103))[number], 0)
    assert {violation.prop for violation in blackbox.b3_total_order(story.records())} == {"B3"}


LOG = """\
00:01 [10] [TOTEM ] A new membership (1.5) was formed. Members members=1 because=boot
00:02 [10] [TOTEM ] A new membership (1.9) was formed. Members joined: 2 members='1 2' x
00:03 [10] [TOTEM ] A new membership (1.d) was formed. Members left: 2 members=1 x
00:04 [11] [TOTEM ] A new membership (1.11) was formed. Members members=1 because=boot
00:05 [11] [TOTEM ] A new membership (1.15) was formed. Members joined: 2 members='1 2' x
"""
OTHER_LOG = """\
00:01 [20] [TOTEM ] A new membership (2.5) was formed. Members members=2 because=boot
00:02 [20] [TOTEM ] A new membership (1.9) was formed. Members joined: 1 members='1 2' x
00:05 [20] [TOTEM ] A new membership (1.15) was formed. Members joined: 1 left: 1 members='1 2' x
"""


def in_logs(one: str, other: str = OTHER_LOG) -> set[str]:
    return {violation.prop for violation in judge(Records(), {1: one, 2: other})}


def test_the_judge_reads_what_nodes_write() -> None:
    values = {"ring": "1.9", "members": (1, 2), "joined": (2,), "left": (), "left_cleanly": (), "because": "join"}
    log = CapturingLogger()
    say(log, Complaints(), Fact("ring.installed", Level.NOTICE, tuple(values.items())), 0.0)  # type: ignore[arg-type]
    (said,) = log.calls
    record = LogRecord("totemd.TOTEM", Level.NOTICE, "", 0, said.args[0], None, None)
    record.values = said.kwargs
    line = TextFormatter(LoggingOptions(), "TOTEM").format(record)
    assert configurations(line) == 1
    (history,) = nodes_history({1: line}).processes.values()
    assert [entry.event for entry in history] == [Regular(RingKey(9, 1), (1, 2), (1,), (2,))]


def test_logs_tell_the_configurations() -> None:
    assert in_logs(LOG) == set()
    assert "E6" in in_logs(LOG.replace("1.11)", "1.d)")), "a ring id came twice"
    assert "E5" in in_logs(LOG.replace("joined: 2 members='1 2'", "joined: 2 3 members='1 2 3'"))
    assert "E7" in in_logs(LOG, OTHER_LOG.replace("joined: 1 left: 1", "")), "node 1 did not come from 1.9"
    assert "crash" in in_logs(LOG + "Traceback (most recent call last):\n  File …\nKeyError: 3\n")
