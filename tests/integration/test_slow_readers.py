"""A member that reads, but more slowly than the others send: the ring waits for it, instead of leaving it behind."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from kit.program import KIT, Program
from totemd.testing import Cluster

GROUP = "slow"
PACE = 20e6
"""Bytes a second that the slow one reads."""

SECONDS = 4.0
"""How long it is behind: less than the ring waits, and long enough for more than its backlog."""


@pytest.mark.timeout(120)
def test_who_reads_slowly_is_waited_for(programs: ExitStack) -> None:
    with Cluster(1) as cluster:
        cluster.wait_for_ring({1})
        reader = Program(KIT / "slow_reader.py", cluster[1].run_dir, GROUP, PACE)
        programs.callback(reader.kill)
        reader.expect("joined")
        with cluster[1].client() as client, client.join(GROUP) as group:
            end, sent = time.monotonic() + SECONDS, 0
            while time.monotonic() < end:
                sent += group.mcast_many([bytes(8_000)] * 100)
                group.pending()
            group.mcast(b"FIN")
            reader.say()
            assert reader.line() == str(sent)
        assert cluster[1].metric("totemd_cpg_expelled_total") == 0
