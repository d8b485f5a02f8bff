"""The children of the executive and how they are kept alive, as data.

One-for-one: a child that ends is started again, the others stay.  That is what lets applications stay connected to
the cpg process while the ring process comes back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..config.model import QuorumOptions


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child: what it runs, and how long things may take."""

    name: str
    """Its role on the control socket, and its name for people."""
    command: tuple[str, ...]
    """Arguments of the Python interpreter; `--run-dir DIR` follows."""
    gets_key: bool = False
    """Whether it is given the cluster key."""
    ready_seconds: float = 20.0
    """From its start until it must have said `Ready`; generous, since a machine that boots is busy."""
    heartbeat_seconds: float = 1.0
    """Between two `Ping`s."""
    heartbeat_deadline_seconds: float = 5.0
    """A `Ping` that was not answered for so long: the child hangs, and is killed."""
    stop_seconds: float = 3.0
    """From `Stop` until it is killed."""


@dataclass(frozen=True, slots=True)
class RestartIntensity:
    """At most *restarts* in any *seconds*, over all children; one more, and the executive gives up loudly."""

    restarts: int = 5
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pause before a restart: *first*, times *factor* for each quick failure in a row, at most *longest* seconds."""

    first_seconds: float = 0.1
    factor: float = 2.0
    longest_seconds: float = 3.0
    stable_seconds: float = 10.0
    """A child that ran for so long has not failed quickly."""

    def pause(self, failures: int) -> float:
        """Seconds to wait after *failures* quick failures in a row, this one included (0: it had run stably)."""
        # The exponent is bounded because a float overflows long before a counter does.
        return float(min(self.first_seconds * self.factor ** min(max(failures - 1, 0), 64), self.longest_seconds))


@dataclass(frozen=True, slots=True)
class Tree:
    """All children, in the order in which they start; they stop in the reverse order."""

    children: tuple[ChildSpec, ...]
    intensity: RestartIntensity = RestartIntensity()
    backoff: Backoff = Backoff()


NODE = Tree(
    (
        ChildSpec("totem", ("-m", "totemd.executive.totem"), gets_key=True),
        ChildSpec("cpg", ("-m", "totemd.services.cpg")),
        ChildSpec("sam", ("-m", "totemd.sam")),
    )
)
"""A node without a quorum provider."""

QUORUM = ChildSpec("quorum", ("-m", "totemd.services.quorum"))
"""Started when the configuration names a provider."""


def with_quorum(tree: Tree, quorum: QuorumOptions) -> Tree:
    """The processes of a node with these options; votes are counted before applications are looked after."""
    if not quorum.provider:
        return tree
    *others, last = tree.children
    return replace(tree, children=(*others, QUORUM, last))
