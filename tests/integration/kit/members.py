"""Members of one group on several nodes, which record everything that they are told."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType

import totemd
from kit.command import environment
from totemd.testing import Cluster, wait_until

Recorded = tuple[int, bytes]
"""A delivered message: node of its sender, payload."""

PATIENCE_SECONDS = 20.0

SILENT_MEMBER = """
import sys, totemd
with totemd.Client(run_dir=sys.argv[1]) as client, client.join(sys.argv[2]) as group:
    print("joined", flush=True)
    for event in group:
        pass
"""


class Recording:
    """One member: a blocking client, its group, and what has happened to it."""

    def __init__(self, node_id: int, client: totemd.Client, group: totemd.Group, pump_all: Callable[[], None]) -> None:
        self._pump_all = pump_all
        self.node_id = node_id
        self.client = client
        self.group = group
        self.events: list[totemd.Event] = []
        self.messages: list[Recorded] = []
        self._looked_at = 0
        self._sent = 0

    @property
    def payloads(self) -> list[bytes]:
        """Of all messages so far."""
        return [payload for _, payload in self.messages]

    def pump(self) -> None:
        """Take what is there."""
        with contextlib.suppress(TimeoutError, totemd.NotMember):
            while True:
                event = self.group.receive(timeout=0)
                self.events.append(event)
                if isinstance(event, totemd.Message):
                    self.messages.append((event.sender.node_id, bytes(event.payload)))

    def send(self) -> bytes:
        """Send the next message of this member; its payload is unique."""
        payload = b"%d:%d:%d" % (self.node_id, id(self), self._sent)
        self._sent += 1
        self.group.mcast(payload)
        return payload

    def next_event(self, wanted: Callable[[totemd.Event], bool]) -> totemd.Event | None:
        """The first event of the kind after the one that was found last.

        The other members are kept going too: a blocking client joins again only while one of its methods runs.
        """
        self._pump_all()
        for index in range(self._looked_at, len(self.events)):
            if wanted(self.events[index]):
                self._looked_at = index + 1
                return self.events[index]
        return None

    def wait_for(self, kind: type[totemd.Event], timeout: float = PATIENCE_SECONDS) -> totemd.Event:
        """The next event of this type."""
        # mypy makes of the inferred union the base class of its types.
        return wait_until(  # type: ignore[return-value]
            lambda: self.next_event(lambda event: isinstance(event, kind)), timeout, lambda: self._story(str(kind))
        )

    def wait_for_change(
        self, wanted: Callable[[totemd.ConfigChange], bool], timeout: float = PATIENCE_SECONDS
    ) -> totemd.ConfigChange:
        """The next membership change that is *wanted*."""
        found = wait_until(
            lambda: self.next_event(lambda event: isinstance(event, totemd.ConfigChange) and wanted(event)),
            timeout,
            lambda: self._story("a change"),
        )
        assert isinstance(found, totemd.ConfigChange)
        return found

    def wait_for_reason(self, reason: totemd.Reason, timeout: float = PATIENCE_SECONDS) -> totemd.ConfigChange:
        """The next change in which somebody comes or goes for this reason."""
        return self.wait_for_change(
            lambda change: any(member.reason is reason for member in (*change.joined, *change.left)), timeout
        )

    def _story(self, what: str) -> str:
        changes = [event for event in self.events if not isinstance(event, totemd.Message)]
        return f"{what} at the member on node {self.node_id}, which saw {len(self.messages)} messages and {changes}"


class Recorder:
    """`with Recorder(cluster, group="g") as members: members[1].group …`: a member on each of the nodes."""

    def __init__(self, cluster: Cluster, group: str, nodes: Iterable[int] | None = None) -> None:
        self._cluster = cluster
        self._group = group
        self._nodes = list(nodes if nodes is not None else cluster.nodes)
        self._members: dict[int, Recording] = {}
        self._resources = contextlib.ExitStack()
        self._processes: dict[int, subprocess.Popen[str]] = {}

    def __enter__(self) -> Recorder:
        with contextlib.ExitStack() as opening:
            for node_id in self._nodes:
                client = opening.enter_context(self._cluster[node_id].client())
                group = opening.enter_context(client.join(self._group))
                self._members[node_id] = Recording(node_id, client, group, self.pump)
            self.wait_for_members(len(self._nodes))
            self._resources = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in list(self._processes):
            self.kill_process(pid)
        self._resources.close()

    def __iter__(self) -> Iterator[Recording]:
        return iter(self._members.values())

    def __getitem__(self, node_id: int) -> Recording:
        return self._members[node_id]

    def pump(self) -> None:
        """Let every member take what is there."""
        for member in self:
            member.pump()

    def everybody_sends(self, count: int) -> list[bytes]:
        """Each member sends *count* messages, in turns; returns all payloads."""
        payloads = []
        for _ in range(count):
            payloads += [member.send() for member in self]
            self.pump()
        return payloads

    def wait_for_payloads(self, payloads: Sequence[bytes], timeout: float = PATIENCE_SECONDS) -> None:
        """Until every member has got all of them."""
        wanted = set(payloads)

        def complete() -> bool:
            self.pump()
            return all(wanted <= set(member.payloads) for member in self)

        wait_until(complete, timeout, lambda: f"{len(wanted)} messages; got {[len(each.messages) for each in self]}")

    def wait_for_members(self, count: int, timeout: float = PATIENCE_SECONDS) -> None:
        """Until the group has *count* members, as each of them sees it."""

        def complete() -> bool:
            self.pump()
            return all(len(member.group.members) == count for member in self)

        wait_until(complete, timeout, lambda: f"{count} members; seen {[each.group.members for each in self]}")

    def start_process(self, node_id: int) -> int:
        """A member in a process of its own; returns its pid."""
        command = [sys.executable, "-c", SILENT_MEMBER, str(self._cluster[node_id].run_dir), self._group]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
        self._processes[process.pid] = process
        assert process.stdout is not None
        assert process.stdout.readline() == "joined\n"
        return process.pid

    def kill_process(self, pid: int) -> None:
        """SIGKILL a process of `start_process`."""
        process = self._processes.pop(pid)
        process.kill()
        process.communicate()


def repeated(messages: Sequence[Recorded]) -> list[Recorded]:
    """Messages that came more than once."""
    return [message for message, times in Counter(messages).items() if times > 1]


def common_order_agrees(one: Sequence[Recorded], other: Sequence[Recorded]) -> bool:
    """Whether what both got came in the same order."""
    both = set(one) & set(other)
    return [each for each in one if each in both] == [each for each in other if each in both]
