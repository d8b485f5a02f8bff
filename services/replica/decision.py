"""What follows from a census: pure, and the same at every member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...ipc.ids import Address
from .census import Census
from .history import BEGINNING, History
from .policy import Begin, Candidate, Policy


@dataclass(frozen=True, slots=True)
class Decision:
    """Who works from here on."""

    winners: Mapping[Address, int]
    """With their ranks."""
    others: Mapping[Address, int]
    """Who waits for the state, with their lives."""
    start: History | None
    """Of the state with which the winners begin; None: they go on with what they were following."""
    undisturbed: bool
    """There was one session, and it goes on: for its members and their transfers nothing has happened."""


def decide(census: Census, members: tuple[Address, ...], policy: Policy) -> Decision:
    """Apply the policy to what a census has found."""
    gathering, ranks = census.gathering(members)
    active = [each for each in gathering.candidates if each.active]
    verdict = policy.decide(gathering)
    start: History | None = None
    winners: dict[Address, int] = {}
    match verdict:
        case Candidate(chosen, history, True, _, sessions):
            winners = {member: ranks[member] for member in chosen}
            start = None if len(sessions) == 1 else history.anew(census.mark)
        case Candidate(chosen, history):
            winners = {member: rank for rank, member in enumerate(chosen)}
            start = history.anew(census.mark)
        case Begin():
            winners = {member: rank for rank, member in enumerate(gathering.answered)}
            start = BEGINNING.anew(census.mark)
    lives = census.lives()
    others = {member: lives[member] for member in gathering.answered if member not in winners and member in lives}
    return Decision(winners, others, start, active == [verdict] and start is None)
