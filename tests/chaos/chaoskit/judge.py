"""The verdict on a run: the simulation's checker where its properties can be seen from outside, and `blackbox`.

Members' histories are given to E1 (no creation), E2 (no duplication), E16 (whole messages).  Nodes say in their logs
which configurations they install, with boots and all: those go through E5 (agreement), E6 (the chain, ring ids that
rise over restarts), E7 (same cut) and E20 (those with a quorum have one order, and share members); E5 also holds them
against what the members were told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from chaoskit import blackbox
from chaoskit.records import Life, MessageKey, OnRing, Received, Records
from simcluster import properties_joint as joint
from simcluster import properties_single as single
from simcluster.analysis import Analysis
from simcluster.history import (
    Delivered,
    Event,
    Failed,
    History,
    Incarnation,
    Lane,
    MessageId,
    Regular,
    RingKey,
    Sent,
    Submitted,
    Transitional,
)
from simcluster.violation import Violation

_ANY_RING = RingKey(0, 0)
"""Members do not know on which ring a message was sent."""

_LINE = re.compile(
    r"\[(?P<pid>\d+)\].*A new membership \((?P<representative>\d+)\.(?P<sequence>[0-9a-f]+)\) was formed\. Members"
    r"(?: joined:(?P<joined>(?: \d+)*))?(?: left:(?P<left>(?: \d+)*))? .*?members='?(?P<members>\d+(?: \d+)*)"
)

CRASH_WORDS = ("Traceback (most recent call last)", "AssertionError", "Task exception was never retrieved")
"""What only a bug writes into a log."""


def judge(records: Records, logs: Mapping[int, str]) -> list[Violation]:
    """Everything that is wrong, the earliest first; *logs* by node."""
    members = Analysis(members_history(records))
    nodes = Analysis(nodes_history(logs))
    told = Analysis(_both(records, logs))
    found = blackbox.check(records) + list(_crashes(logs))
    for violations in (
        *(prop(members) for prop in (single.e1_no_creation, single.e2_no_duplication, single.e16_whole_messages)),
        *(prop(nodes) for prop in (single.e6_configuration_chain, joint.e7_same_cut, joint.e20_primary_history)),
        single.e5_configuration_agreement(told),
    ):
        found += sorted(violations, key=lambda violation: violation.time)[: blackbox.VIOLATIONS_MAX]
    return sorted(found, key=lambda violation: violation.time)


def configurations(log: str) -> int:
    """How many a node's log tells of."""
    return sum(1 for line in log.splitlines() if _LINE.search(line))


def members_history(records: Records) -> History:
    """What members handed in and what they got, in the simulation's terms."""
    entries: list[tuple[float, int, Incarnation, Event]] = []
    for key, submission in records.submissions.items():
        if submission.unsent:
            continue
        process, message = Incarnation(key.node, key.incarnation * blackbox.PARTS_MAX), _message(key)
        submitted = Submitted(message, Lane.APPLICATION, submission.guarantee == blackbox.SAFE, submission.digest)
        entries.append((submission.time, 0, process, submitted))
        entries.append((submission.time, 0, process, Sent(message, _ANY_RING, 0)))
    for life in records.lives:
        entries += [(time, 1, blackbox.incarnation(life), _delivered(each)) for time, each in life.received()]
    history = History()
    for time, _, process, event in sorted(entries, key=lambda entry: entry[:2]):
        history.record(process, event, time)
    return history


def nodes_history(logs: Mapping[int, str]) -> History:
    """The configurations that the nodes installed, as their logs say; a life is that of a totem process."""
    history = History()
    for node, log in logs.items():
        boot, pid, last = -1, "", None
        for number, line in enumerate(log.splitlines()):
            found = _LINE.search(line)
            if found is None:
                continue
            if found["pid"] != pid:
                if last is not None:
                    history.record(Incarnation(node, boot), Failed(), float(number))
                boot, pid, last = boot + 1, found["pid"], None
            process, now = Incarnation(node, boot), _configuration(found)
            if last is not None:
                left = _numbers(found["left"])
                history.record(process, Transitional(last.ring, now.ring, now.survivors, left), float(number))
            history.record(process, now, float(number))
            last = now
    return history


def _both(records: Records, logs: Mapping[int, str]) -> History:
    history = nodes_history(logs)
    for life in records.lives:
        for time, ring in _rings(life):
            # A name that no node's life has.
            process = Incarnation(life.process.node, -1 - blackbox.incarnation(life).boot)
            history.record(process, Regular(ring.ring, ring.nodes, (), ()), time)
    return history


def _rings(life: Life) -> Iterator[tuple[float, OnRing]]:
    for time, what in life.seen:
        if isinstance(what, OnRing):
            yield time, what


def _configuration(found: re.Match[str]) -> Regular:
    members, joined = _numbers(found["members"]), _numbers(found["joined"])
    ring = RingKey(int(found["sequence"], 16), int(found["representative"]))
    return Regular(ring, members, tuple(each for each in members if each not in joined), joined)


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(map(int, (text or "").split()))


def _message(key: MessageKey) -> MessageId:
    return MessageId(key.node, key.incarnation * blackbox.PARTS_MAX, key.number)


def _delivered(event: Received) -> Delivered:
    return Delivered(_message(event.message), _ANY_RING, 0, event.guarantee == blackbox.SAFE, event.digest, False)


def _crashes(logs: Mapping[int, str]) -> Iterable[Violation]:
    for node, log in logs.items():
        lines = log.splitlines()
        for number, line in enumerate(lines):
            if any(word in line for word in CRASH_WORDS):
                what = f"node {node}, line {number + 1} of its log:\n" + "\n".join(lines[number : number + 15])
                yield Violation("crash", float(number), what)
                break
