"""How much memory the processes of the nodes take, after the warm-up and at the end."""

from __future__ import annotations

from dataclasses import dataclass, field

import psutil
from totemd.testing import Cluster, family

ROLES = (family.EXECUTIVE, *family.MODULES)

GROWTH_MAX = 0.2
"""What a process may take more at the end than after the warm-up; one that was restarted is held to the old value."""

MIB = 2**20


@dataclass
class Memory:
    """Resident bytes by (node, role)."""

    before: dict[tuple[int, str], int] = field(default_factory=dict)
    after: dict[tuple[int, str], int] = field(default_factory=dict)
    growth_max: float = GROWTH_MAX
    highest: dict[str, int] = field(default_factory=dict)
    """By role, at any time that was looked at."""

    def first(self, cluster: Cluster) -> None:
        """The value that later ones are held to."""
        self.before = self.look(cluster)

    def final(self, cluster: Cluster) -> None:
        """The value that counts."""
        self.after = self.look(cluster)

    def look(self, cluster: Cluster) -> dict[tuple[int, str], int]:
        """All processes that run now."""
        sizes: dict[tuple[int, str], int] = {}
        for node in cluster:
            # One look through all processes of the machine for a node, not one for each role: that takes long.
            for place, process in enumerate(node.processes()):
                try:
                    role = _role(process) if place else family.EXECUTIVE
                    size = process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
                if role is not None:
                    sizes[node.node_id, role] = size
                    self.highest[role] = max(size, self.highest.get(role, 0))
        return sizes

    def growth(self, role: str) -> float:
        """The largest share that a process of this role has grown by; negative if all shrank."""
        return max(
            (self.after[key] / size - 1 for key, size in self.before.items() if key[1] == role and key in self.after),
            default=0.0,
        )

    def complaints(self) -> list[str]:
        """Roles that have grown too much."""
        return [
            f"memory: a {role} process has grown by {self.growth(role):.0%}, and may by {self.growth_max:.0%}"
            for role in ROLES
            if self.growth(role) > self.growth_max
        ]

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"memory of {role}: {_range(self.before, role)} MiB first, {_range(self.after, role)} MiB in the end "
            f"(largest growth {self.growth(role):+.0%}, highest {self.highest.get(role, 0) / MIB:.1f})"
            for role in ROLES
            if any(key[1] == role for key in (*self.before, *self.after))
        ]


def _role(process: psutil.Process) -> str | None:
    command = process.cmdline()
    return next((name for name, module in family.MODULES.items() if module in command), None)


def _range(sizes: dict[tuple[int, str], int], role: str) -> str:
    values = sorted(size / MIB for key, size in sizes.items() if key[1] == role)
    return f"{values[0]:.1f}–{values[-1]:.1f}" if values else "nothing"
