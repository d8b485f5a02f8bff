"""Broken variants of the protocol: each must be noticed, else the simulation is too gentle.

`python tests/sim/run.py --mutants` measures how often each is noticed, and by which property.
"""

from __future__ import annotations

from simcluster.mutants_base import Mutant
from simcluster.mutants_delivery import DELIVERY
from simcluster.mutants_membership import MEMBERSHIP
from simcluster.mutants_ordering import ORDERING
from simcluster.mutants_recovery import RECOVERY

MUTANTS: tuple[Mutant, ...] = (*ORDERING, *DELIVERY, *RECOVERY, *MEMBERSHIP)


def find(name: str) -> Mutant:
    """The mutant with this name.

    Raises:
        KeyError: there is none.
    """
    return next((mutant for mutant in MUTANTS if mutant.name == name), None) or _unknown(name)


def _unknown(name: str) -> Mutant:
    raise KeyError(f"no mutant {name}; there are {', '.join(mutant.name for mutant in MUTANTS)}")
