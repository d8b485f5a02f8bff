"""A configuration that is read again while the node runs."""

from __future__ import annotations

from totemd.testing import Cluster, wait_until


def test_sighup_takes_over_what_may_change() -> None:
    with Cluster(3, token=1000, token_coefficient=0) as cluster:
        ring = cluster[1].stands()
        cluster.configure(token=1500)
        for node in cluster:
            node.reload()
        wait_until(lambda: all(node.status().token_ms == 1500 for node in cluster), 30, "the new token timeout")
        assert cluster[1].stands() == ring, "the ring goes on"
        cluster[3].kill()
        cluster.wait_for_ring({1, 2})


def test_what_cannot_change_is_named_and_stays() -> None:
    with Cluster(1) as cluster:
        node = cluster[1]
        cluster.configure(crypto_cipher="aes128", token=1234)
        node.reload()
        wait_until(lambda: "Modified entry 'totem.crypto_cipher'" in node.log, 30, "the log names it")
        wait_until(lambda: node.status().token_ms == 1234, 30, "the rest is taken over")
        assert node.status().cipher == "aes256"


def test_a_file_with_mistakes_changes_nothing() -> None:
    with Cluster(1) as cluster:
        node = cluster[1]
        before = node.status().token_ms
        node.write_configuration(node.configuration_path.read_text().replace("version: 2", "version: two"))
        node.reload()
        wait_until(lambda: "Unable to reload config file" in node.log, 30, "the log says so")
        assert f"{node.configuration_path}:" in node.log
        assert node.status().token_ms == before
        refused = node.control("reload")
        assert refused.returncode == 1
        assert f"{node.configuration_path}:" in refused.stderr
