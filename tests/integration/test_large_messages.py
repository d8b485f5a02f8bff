"""Messages above a mebibyte, on real nodes: whole, once, in order, and not in the way of others."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator

import pytest
import totemd
from totemd.testing import Cluster

LIMIT = 16 * 1024 * 1024
SECONDS = 60.0


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(3, options={"cpg.max_message_size": LIMIT}, token=1000, crypto_cipher="aes256") as made:
        made.wait_for_ring({1, 2, 3})
        yield made


def digests(group: totemd.Group, count: int) -> list[str]:
    """Of the next messages of the group."""
    found: list[str] = []
    end = time.monotonic() + SECONDS
    while len(found) < count:
        event = group.receive(timeout=max(0.0, end - time.monotonic()))
        if isinstance(event, totemd.Message):
            found.append(hashlib.sha256(event.payload).hexdigest())
    return found


def test_they_arrive_whole_and_others_have_their_turn(cluster: Cluster) -> None:
    with (
        cluster[1].client() as one,
        cluster[1].client() as neighbour,
        cluster[3].client() as three,
        one.join("big") as big,
        three.join("big") as far,
        neighbour.join("small") as small,
    ):
        assert one.message_bytes_max == LIMIT
        with pytest.raises(totemd.MessageTooLarge, match=str(LIMIT)):
            big.mcast(bytes(LIMIT + 1))
        messages = [os.urandom(LIMIT), b"between", os.urandom(LIMIT // 2)]
        for message in messages:
            big.mcast(message)
        # Both large ones are under way; the neighbour's messages go round meanwhile.
        rounds = 0
        while not any(isinstance(event, totemd.Message) for event in _there(big)):
            small.mcast(b"%d" % rounds)
            while not isinstance(small.receive(timeout=SECONDS), totemd.Message):
                pass
            rounds += 1
        assert rounds >= 3
        assert digests(far, 3) == [hashlib.sha256(message).hexdigest() for message in messages]


def test_sizes_around_the_limit_of_one_submission_and_of_a_part(cluster: Cluster) -> None:
    """corosync's cpgbound, where its library cuts messages; here it is above a mebibyte, in parts."""
    part, mebibyte = 256 * 1024, 1024 * 1024
    around = [mebibyte, mebibyte + part, 2 * mebibyte, 1_047_552]
    messages = [os.urandom(size + more) for size in around for more in (-5, -4, -1, 0, 1, 3)]
    with cluster[1].client() as one, cluster[3].client() as three, one.join("bound") as a, three.join("bound") as b:
        for message in messages:
            a.mcast(message)
        expected = [hashlib.sha256(message).hexdigest() for message in messages]
        assert digests(b, len(messages)) == expected
        assert digests(a, len(messages)) == expected


def test_a_member_that_comes_in_the_middle_gets_all_or_nothing(cluster: Cluster) -> None:
    messages = [os.urandom(LIMIT // 2) for _ in range(4)]
    with cluster[1].client() as one, cluster[2].client() as two, one.join("big") as big, two.join("big") as other:
        cluster[3].kill()
        cluster.wait_for_ring({1, 2})
        for message in messages[:2]:
            big.mcast(message)
        cluster[3].start()
        for message in messages[2:]:
            big.mcast(message)
        cluster.wait_for_ring({1, 2, 3})
        expected = [hashlib.sha256(message).hexdigest() for message in messages]
        assert digests(other, 4) == expected
        assert digests(big, 4) == expected


def _there(group: totemd.Group) -> list[totemd.Event]:
    try:
        return [group.receive(timeout=0)]
    except TimeoutError:
        return []
