#!/usr/bin/env python3
"""totemd as one of the systems that a peer harness measures side by side (corosync, NATS and others).

    PEERS=DIR python bench/peer_totemd.py --nodes 3 --sizes 64,8000
    DIR/side_by_side.py --rounds 5 'DIR/baseline.py --parts core --only knet' \\
        'python bench/peer_totemd.py --only aes256'

DIR is the harness's folder, with its `pbrun.py` and `pblib.py`; each node is a network namespace at MTU 1500 (as root).
Clusters, members and accounts are those of `canonical.py`, which pairs totemd and corosync by itself.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from benchkit.peers import for_harness
from benchkit.systems import Effort, Totemd
from benchkit.workload import Cell, What
from totemd.testing.namespaces import MTU, obstacle, remove_leftovers

sys.path.insert(0, os.environ.get("PEERS", "."))
try:
    import pbrun  # type: ignore[import-not-found]
except ImportError:
    raise SystemExit("PEERS must name the folder of the peer harness (pbrun.py, pblib.py)") from None

CONFIGURATIONS = {"aes256": ("aes256", MTU), "plain": ("none", MTU), "aes256, mtu 9000": ("aes256", 9_000)}
"""Name -> (cipher, MTU of the network)."""


class Adapter(pbrun.Adapter):  # type: ignore[misc]
    """One configuration, by the harness's names."""

    system = "totemd"

    def __init__(self, config: str) -> None:
        self.config = config
        cipher, mtu = CONFIGURATIONS[config]
        self._totemd = Totemd(cipher, namespaces=True, mtu=mtu)

    def versions(self) -> dict[str, str]:
        return {"python": sys.version.split()[0]}

    def up(self, n: int) -> None:
        self._totemd.up(n)

    def down(self) -> None:
        self._totemd.down()

    def pids(self) -> list[int]:
        return self._totemd.pids()

    def flood(self, size: int, secs: float, multi: bool) -> dict[str, Any]:
        what = What.EVERY if multi else What.ONE
        return for_harness(self._totemd.measure(Cell(what, size), Effort(seconds=secs)))

    def latency(self, size: int, count: int) -> dict[str, Any]:
        return for_harness(self._totemd.measure(Cell(What.LATENCY, size), Effort(pings=count)))


def main() -> None:
    options = pbrun.arguments(__doc__).parse_args()
    if obstacle():
        raise SystemExit(obstacle())
    remove_leftovers()
    pbrun.run_main([Adapter(config) for config in CONFIGURATIONS], options)


if __name__ == "__main__":
    main()
