"""What totemctl gets to know: answers put together from the executive's own knowledge and its children's."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ...ipc.errors import InvalidArgument, NotFound, TotemdError, TryAgain
from ...ipc.messages.control import (
    AppsAnswer,
    AppsQuestion,
    AppsReply,
    BlackboxAnswer,
    BlackboxQuestion,
    BlackboxReply,
    CmapReply,
    GroupsAnswer,
    GroupsQuestion,
    GroupsReply,
    MembersReply,
    Metric,
    MetricsAnswer,
    MetricsQuestion,
    MetricsReply,
    NodeInfo,
    ProcessInfo,
    QuorumAnswer,
    QuorumQuestion,
    ResourcesAnswer,
    ResourcesQuestion,
    RingAnswer,
    RingQuestion,
    StatusReply,
)
from ..config.model import Configuration
from ..runtime.version import VERSION
from . import cmap
from .questions import Questions

DOWN = "down"
"""State of a ring whose process is away or does not answer; besides the four states of the protocol."""

UNKNOWN = "unknown"
"""State of every node while the ring is `down`; besides `joined` and `absent`."""


class Node(Protocol):
    """What the desk knows about the executive."""

    @property
    def configuration(self) -> Configuration:
        """The one in force."""

    @property
    def run_dir(self) -> str: ...

    @property
    def pid(self) -> int: ...

    @property
    def uptime_seconds(self) -> float: ...

    @property
    def questions(self) -> Questions: ...

    @property
    def connected(self) -> tuple[str, ...]:
        """The children that can be asked."""

    def processes(self) -> dict[str, ProcessInfo]: ...

    def own_metrics(self) -> tuple[Metric, ...]: ...


class Desk:
    """Answers requests; those that need a child wait for it at most `QUESTION_SECONDS`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def status(self, request: int) -> StatusReply:
        """How this node is.  Also answered while children are being restarted: the ring is `down` then."""
        ring, quorum = await asyncio.gather(self._ring(), self._quorum())
        configuration = self._node.configuration
        totem = configuration.totem
        return StatusReply(
            request=request,
            node_id=configuration.local_node_id,
            name=configuration.local_node.name,
            cluster_name=totem.cluster_name,
            state=ring.state if ring else DOWN,
            ring=ring.ring if ring else None,
            members=tuple(sorted(ring.members)) if ring else (),
            quorate=(quorum is not None and quorum.quorate) if self._counts_votes else None,
            processes=self._node.processes(),
            pid=self._node.pid,
            uptime_seconds=round(self._node.uptime_seconds, 3),
            version=VERSION,
            transport=totem.transport,
            cipher=ring.cipher if ring else totem.cipher,
            token_ms=totem.token,
            consensus_ms=totem.consensus,
            config_version=totem.config_version,
            configuration_files=configuration.sources,
            run_dir=self._node.run_dir,
        )

    async def members(self, request: int) -> MembersReply:
        """Every node of the node list and of the ring.  While the ring is `down`, those of the list, as `unknown`."""
        ring = await self._ring()
        return MembersReply(request, member_table(self._node.configuration, ring.members if ring else None))

    async def groups(self, request: int) -> GroupsReply:
        """All groups of the cluster."""
        answer: GroupsAnswer = await self._node.questions.ask("cpg", GroupsQuestion)
        return GroupsReply(request, answer.groups)

    async def apps(self, request: int) -> AppsReply:
        """The applications supervised on the nodes of the cluster."""
        answer: AppsAnswer = await self._node.questions.ask("sam", AppsQuestion)
        return AppsReply(request, answer.apps)

    async def metrics(self, request: int) -> MetricsReply:
        """The numbers of every process that answers, each labelled with its process."""
        answers = await asyncio.gather(*(self._metrics_of(child) for child in self._node.connected))
        own = labelled("executive", self._node.own_metrics())
        return MetricsReply(request, tuple(metric for metrics in (own, *answers) for metric in metrics))

    async def blackbox(self, request: int) -> BlackboxReply:
        """Dump the flight recorder of the totem process."""
        answer: BlackboxAnswer = await self._node.questions.ask("totem", BlackboxQuestion)
        return BlackboxReply(request, answer.path, answer.bytes, answer.seconds)

    async def cmap(self, request: int, prefix: str) -> CmapReply:
        """Keys that begin with *prefix*."""
        ring, quorum, resources = await asyncio.gather(self._ring(), self._quorum(), self._resources())
        values = cmap.view(self._node.configuration, ring, quorum) | resources
        return CmapReply(request, {key: values[key] for key in sorted(values) if key.startswith(prefix)})

    async def cancel_wait_for_all(self, value: str) -> None:
        """Press corosync's button `quorum.cancel_wait_for_all`.

        Raises:
            NotFound: there is no quorum provider.
            InvalidArgument: *value* is not 1.
            TryAgain: the quorum process is away, or the node has no ring.
        """
        if not self._counts_votes:
            raise NotFound(f"{cmap.CANCEL_WAIT_FOR_ALL}: no quorum provider is configured")
        if value != "1":
            raise InvalidArgument(f"{cmap.CANCEL_WAIT_FOR_ALL} is set to 1, not to {value!r}")
        await self._node.questions.ask("quorum", lambda request: QuorumQuestion(request, True))

    async def forget_resource(self, key: str) -> None:
        """Delete the keys of an application that has failed and ended.

        Raises:
            InvalidArgument: *key* is none of such an application.
            NotFound: there is no such application.
            TryAgain: the sam process is away.
        """
        if not key.startswith(cmap.FORGETTABLE):
            raise InvalidArgument(f"only keys that begin with {cmap.FORGETTABLE} can be deleted, not {key!r}")
        await self._node.questions.ask("sam", lambda request: ResourcesQuestion(request, key))

    async def _resources(self) -> dict[str, str | int]:
        try:
            answer: ResourcesAnswer = await self._node.questions.ask("sam", ResourcesQuestion)
        except TotemdError:
            return {}
        return answer.keys

    @property
    def _counts_votes(self) -> bool:
        return bool(self._node.configuration.quorum.provider)

    async def _quorum(self) -> QuorumAnswer | None:
        if not self._counts_votes:
            return None
        try:
            answer: QuorumAnswer = await self._node.questions.ask("quorum", QuorumQuestion)
        except TryAgain:
            return None
        return answer

    async def _ring(self) -> RingAnswer | None:
        try:
            answer: RingAnswer = await self._node.questions.ask("totem", RingQuestion)
        except TryAgain:
            return None
        return answer

    async def _metrics_of(self, child: str) -> tuple[Metric, ...]:
        try:
            answer: MetricsAnswer = await self._node.questions.ask(child, MetricsQuestion)
        except TotemdError:
            return ()
        return labelled(child, answer.metrics)


def labelled(process: str, metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """The same numbers, each with the name of the process that they come from."""
    return tuple(
        Metric(each.name, each.kind, each.value, each.help, (("process", process), *each.labels)) for each in metrics
    )


def member_table(configuration: Configuration, joined: tuple[int, ...] | None) -> tuple[NodeInfo, ...]:
    """One row per node, sorted by id; members that the node list does not know (multicast) have no address.

    *joined* are the members of the ring; None: they are not known.
    """
    listed = {node.node_id: node for node in configuration.nodes}
    members = joined or ()
    return tuple(
        NodeInfo(
            node_id=node_id,
            name=listed[node_id].name if node_id in listed else "",
            addresses=listed[node_id].addresses if node_id in listed else (),
            state=UNKNOWN if joined is None else "joined" if node_id in members else "absent",
            local=node_id == configuration.local_node_id,
        )
        for node_id in sorted({*listed, *members})
    )
