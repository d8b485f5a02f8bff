"""Two machines whose files were mixed up run with one node id: both say so, one ends, the others do not care."""

from __future__ import annotations

from totemd.testing import Cluster, wait_until
from totemd.testing.configuration import cluster_configuration

SECONDS = 30.0
SAID = "node id 3 is used twice"
ENDED = "node ids must be unique"


def test_two_nodes_with_one_id() -> None:
    with Cluster(4, token=1000, token_coefficient=0, start=False, faults=False) as cluster:
        first, second = cluster[3], cluster[4]
        addresses = cluster.addresses
        swapped = {**addresses, 3: addresses[4], 4: addresses[3]}
        text = cluster_configuration(3, swapped, cluster.port, str(second.key_path), cluster.options)
        for node in (cluster[1], cluster[2], first):
            node.start()
        cluster.wait_for_ring({1, 2, 3})
        before = [cluster[node].pid("totem") for node in (1, 2)]
        second.write_configuration(text)
        second.launch()

        def both_have_said_it() -> bool:
            return SAID in first.log and SAID in second.log

        wait_until(both_have_said_it, SECONDS, lambda: f"{first.last_words()}\n---\n{second.last_words()}")
        wait_until(lambda: first.is_running != second.is_running, SECONDS, "exactly one of them ends")
        loser, winner = (first, second) if second.is_running else (second, first)
        assert loser.wait(SECONDS) != 0
        assert ENDED in loser.last_words()
        assert f"{winner.address}:{cluster.port}" in loser.last_words(), "it names the other one"
        if winner is first:
            cluster.wait_for_ring({1, 2, 3})
        else:
            cluster.wait_for_ring({1, 2})
        assert [cluster[node].pid("totem") for node in (1, 2)] == before
