"""A ring sequence that cannot be stored: no ring rather than a name that might be used twice, and words that help."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from totemd.testing import Cluster, Node

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
END_SECONDS = 30.0


@contextlib.contextmanager
def own_file_system(node: Node, pages: int) -> Iterator[Path]:
    """Give the state directory of *node* a file system of its own, so small."""
    node.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={pages * PAGE_BYTES}", "tmpfs", str(node.state_dir)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    try:
        yield node.state_dir
    finally:
        subprocess.run(["umount", "-l", str(node.state_dir)], check=True)


def fill(directory: Path) -> None:
    with contextlib.suppress(OSError), (directory / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(PAGE_BYTES))


def says_what_to_do(node: Node) -> None:
    path = str(node.state_dir / f"ringid_{node.node_id}")
    last = node.last_words(5)
    assert path in last and "system.state_dir" in last, last


def test_a_node_does_not_start_on_a_full_disk() -> None:
    with Cluster(1, start=False) as cluster, own_file_system(cluster[1], 2) as directory:
        fill(directory)
        cluster[1].launch()
        assert cluster[1].wait(END_SECONDS) != 0
        says_what_to_do(cluster[1])
        assert "No space left on device" in cluster[1].log
        assert not (directory / "ringid_1.new").exists()


def test_a_node_does_not_start_on_a_read_only_disk() -> None:
    with Cluster(1, start=False) as cluster, own_file_system(cluster[1], 2) as directory:
        subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
        cluster[1].launch()
        assert cluster[1].wait(END_SECONDS) != 0
        says_what_to_do(cluster[1])
        assert "Read-only file system" in cluster[1].log


def test_a_disk_that_fills_up_ends_its_node_at_the_next_ring_and_nobody_elses() -> None:
    cluster = Cluster(3, token=1000, token_coefficient=0, start=False)
    with cluster, own_file_system(cluster[2], 3) as directory:
        cluster.start()
        cluster[3].stop()
        cluster.wait_for_ring({1, 2})
        fill(directory)
        stored = (directory / "ringid_2").read_bytes()
        cluster[3].start()
        assert cluster[2].wait(END_SECONDS) != 0
        says_what_to_do(cluster[2])
        assert (directory / "ringid_2").read_bytes() == stored
        cluster.wait_for_ring({1, 3})
        (directory / "filler").unlink()
        cluster[2].start()
        cluster.wait_for_ring({1, 2, 3})
