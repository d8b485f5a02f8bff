"""What the faults that last at a moment mean for the network: each node's packet filter rules; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chaoskit.faults import Fault, Kind

TABLE = "totemd_chaos"

SMALL_BYTES_MAX = 500
"""A datagram up to this length, IP header included, is small: a token, a join, a short message."""

PARTS = 10_000
"""Shares are carried out in parts of so many."""


@dataclass
class Weather:
    """The state of the network."""

    loss: float = 0.0
    """Share of all datagrams that is lost, at every receiver."""
    deaf_to: dict[int, set[int]] = field(default_factory=dict)
    """Node -> nodes that it does not hear."""
    small_lost: dict[int, float] = field(default_factory=dict)
    large_lost: dict[int, float] = field(default_factory=dict)
    """Node -> share."""
    delay_ms: dict[int, float] = field(default_factory=dict)


def weather(nodes: Iterable[int], lasting: Iterable[Fault], loss: float = 0.0) -> Weather:
    """What faults that last at the same time amount to; *loss* is there all the time."""
    everybody = set(nodes)
    result = Weather(loss)

    def cut(node: int, others: Iterable[int]) -> None:
        result.deaf_to.setdefault(node, set()).update(set(others) - {node})

    for fault in lasting:
        match fault.kind:
            case Kind.PARTITION:
                side = set(fault.nodes)
                for node in everybody:
                    cut(node, everybody - side if node in side else side)
            case Kind.ONE_WAY:
                cut(fault.nodes[0], fault.nodes[1:])
            case Kind.DEAF:
                cut(fault.nodes[0], everybody)
            case Kind.STORM:
                result.loss = 1 - (1 - result.loss) * (1 - fault.share)
            case Kind.SMALL:
                result.small_lost[fault.nodes[0]] = fault.share
            case Kind.LARGE:
                result.large_lost[fault.nodes[0]] = fault.share
            case Kind.DELAY:
                result.delay_ms[fault.nodes[0]] = fault.share
            case _:
                pass
    return result


def rules(node: int, state: Weather, addresses: Mapping[int, str]) -> str:
    """A node's packet filter in this weather, as commands for nft that replace what was there in one step."""
    lines = [f"ip saddr {addresses[other]} counter drop" for other in sorted(state.deaf_to.get(node, ()))]
    lines += _share(f"meta length <= {SMALL_BYTES_MAX} ", state.small_lost.get(node, 0.0))
    lines += _share(f"meta length > {SMALL_BYTES_MAX} ", state.large_lost.get(node, 0.0))
    lines += _share("", state.loss)
    text = f"add table inet {TABLE}\ndelete table inet {TABLE}\n"
    if lines:
        body = "\n    ".join(["type filter hook input priority 0; policy accept;", *lines])
        text += f"table inet {TABLE} {{\n  chain arriving {{\n    {body}\n  }}\n}}\n"
    return text


def _share(which: str, share: float) -> list[str]:
    parts = round(share * PARTS)
    if not parts:
        return []
    chance = f"numgen random mod {PARTS} < {parts} " if parts < PARTS else ""
    return [f"meta l4proto udp {which}{chance}counter drop"]
