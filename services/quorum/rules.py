"""Which of votequorum's special rules hold: from a node's configuration, and for nodes that go together.

Source: votequorum(5).  Where options exclude each other, what corosync switches off is switched off here too, and said.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, NamedTuple

import msgspec

from ...executive.config.model import QuorumOptions

LOWEST = "lowest"
HIGHEST = "highest"
"""Kinds of tie breakers besides a list of node ids."""

TIE_BREAKER_LENGTH_MAX = 16_384
"""Characters of a list of tie breakers, as it is checked on decode: more than a thousand nodes."""

_NODE_ID = re.compile(r"[0-9]{1,10}")


class Rules(msgspec.Struct, frozen=True, array_like=True):
    """`quorum { }` as far as all nodes must agree on it."""

    two_node: bool = False
    wait_for_all: bool = False
    last_man_standing: bool = False
    last_man_standing_window: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 10_000
    """Milliseconds."""
    tie_breaker: Annotated[str, msgspec.Meta(max_length=TIE_BREAKER_LENGTH_MAX)] = ""
    """`lowest`, `highest`, node ids separated by blanks; empty: ties are not broken."""
    allow_downscale: bool = False

    @property
    def tie_breakers(self) -> tuple[int, ...]:
        """The node ids of a list, in its order; empty for the other kinds."""
        return tuple(int(word) for word in self.tie_breaker.split() if _NODE_ID.fullmatch(word))


class Own(msgspec.Struct, frozen=True):
    """What this node's configuration says."""

    votes: int = 1
    expected: int = 1
    """Votes of the whole cluster."""
    rules: Rules = Rules()
    tracking: bool = False
    """Whether the highest expected votes are remembered on disk."""


class Configured(NamedTuple):
    """`Own`, and what has to be said about it."""

    own: Own
    warnings: tuple[str, ...] = ()


def configured(options: QuorumOptions, votes: int) -> Configured:
    """What the configuration means for a node with so many *votes*."""
    warnings: list[str] = []
    breaker = options.auto_tie_breaker_node if options.auto_tie_breaker else ""
    two_node = options.two_node
    if two_node and breaker:
        two_node = False
        warnings.append(
            "two_node and auto_tie_breaker are both specified but are not compatible: two_node has been disabled"
        )
    if two_node and options.expected_votes > 2:
        two_node = False
        warnings.append(f"two_node has been disabled: {options.expected_votes} votes are expected, not 2")
    if breaker and options.expected_votes % 2 and not options.wait_for_all:
        breaker = ""
        warnings.append(
            "auto_tie_breaker has been disabled: with an odd number of votes it needs wait_for_all, or two halves "
            "could both go on"
        )
    if options.device is not None:
        warnings.append("quorum devices are not supported: the votes of quorum.device are not counted")
    rules = Rules(
        two_node=two_node,
        wait_for_all=options.wait_for_all,
        last_man_standing=options.last_man_standing,
        last_man_standing_window=options.last_man_standing_window,
        tie_breaker=breaker,
        allow_downscale=options.allow_downscale,
    )
    tracking = options.expected_votes_tracking or options.allow_downscale
    return Configured(Own(votes, options.expected_votes, rules, tracking), tuple(warnings))


def common(rules: Collection[Rules]) -> Rules:
    """What holds for nodes with these rules: what makes quorum easier only if all of them have it."""
    every = tuple(rules) or (Rules(),)
    breakers = {each.tie_breaker for each in every}
    return Rules(
        two_node=all(each.two_node for each in every),
        wait_for_all=any(each.wait_for_all for each in every),
        last_man_standing=all(each.last_man_standing for each in every),
        last_man_standing_window=max(each.last_man_standing_window for each in every),
        tie_breaker=breakers.pop() if len(breakers) == 1 else "",
        allow_downscale=all(each.allow_downscale for each in every),
    )
