"""Hard cases of the core, set up on purpose: numbers near 2^32, one-way links, a deaf member, large rings.
In each, messages of both guarantees are on their way, and the checker looks at all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from lives import FORMED, changes, configurations, delivered, lived, load_of
from simcluster.cluster import Cluster, Outcome
from simcluster.faults import Crash, CutLinks, Fault, Heal, Lossy
from simcluster.options import CONSENSUS, TOKEN, Options
from simcluster.scenario import Script, plain
from totemd.executive.config.load import load
from totemd.executive.totem.core import recovery
from totemd.executive.totem.core.store import FrameStore
from totemd.executive.totem.options import ring_parameters
from totemd.executive.totem.wire.packets import Token
from totemd.ipc.ids import RingId
from totemd.testing.configuration import cluster_configuration

WRAP = 2**32
"""Where 32-bit numbers would begin anew."""

Links = tuple[tuple[int, int], ...]
"""Directions: (sender, receiver)."""


def time_with(outcome: Outcome, node: int, other: int, start: float, end: float) -> float:
    """For how many seconds of this time *other* was in the configuration of *node*."""
    known = [(at, other in regular.members) for at, regular in configurations(outcome, node)]
    until = [at for at, _ in known[1:]] + [end]
    return sum(
        max(0.0, min(end, later) - max(start, at))
        for (at, together), later in zip(known, until, strict=True)
        if together
    )


# -- numbers


@pytest.mark.parametrize(("highest", "hop"), [(WRAP - 60, 5), (WRAP - 5, WRAP - 100), (2**62, 2**62)])
def test_messages_and_tokens_are_numbered_past_32_bits(highest: int, hop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ring begins there instead of at 0: nothing wraps, and order, holes and safe marks work as ever."""

    def first_token(ring: RingId, first_hop: int, first: int, received: int, *rest: object) -> Token:
        return Token(ring, first_hop + hop, first + highest, received + highest, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(recovery, "FrameStore", lambda limit: FrameStore(limit, highest))
    monkeypatch.setattr(recovery, "Token", first_token)
    options = replace(plain(1, 3), fault_seconds=7.0, wire="codec")
    everywhere = tuple((a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b)
    faults = [(FORMED, Lossy(("Mcast",), everywhere, 0.2, 9.0)), (5.0, Crash((3,), (0.5,)))]
    outcome = lived(options, faults, load_of(3, 7.0, 0.02))
    places = [event.position for event in delivered(outcome, 1)]
    assert len(places) > 200
    assert min(places[10:]) > highest and max(places) - highest > 100


def test_ring_sequences_go_past_32_bits() -> None:
    options = replace(plain(1, 3), fault_seconds=6.0, wire="codec")
    faults = [(FORMED + index, Crash((1 + index,), (0.3,))) for index in range(3)]
    outcome = lived(options, faults, load_of(3, 6.0), disk=WRAP - 8)
    sequences = [regular.ring.sequence for node in (1, 2, 3) for _, regular in configurations(outcome, node)]
    assert min(sequences) < WRAP < max(sequences)


# -- links


def both(*pairs: tuple[int, int]) -> Links:
    """The links of these pairs, in both directions."""
    return tuple(link for a, b in pairs for link in ((a, b), (b, a)))


def only_sends(node: int, nodes: int) -> Links:
    """The links on which a node would hear others."""
    return tuple((other, node) for other in range(1, nodes + 1) if other != node)


def only_hears(node: int, nodes: int) -> Links:
    """The links on which others would hear a node."""
    return tuple((other, this) for this, other in only_sends(node, nodes))


ROUND: Final[Links] = ((1, 2), (2, 3), (3, 1))


@pytest.mark.parametrize("nodes", [3, 4, 5])
@pytest.mark.parametrize(
    "links",
    [
        pytest.param(lambda n: ((1, 2),), id="to the next"),
        pytest.param(lambda n: ((n, 1),), id="from the last"),
        pytest.param(lambda n: ((n - 1, n),), id="to the last"),
        pytest.param(lambda n: both((1, 2)), id="first pair"),
        pytest.param(lambda n: both((n - 1, n)), id="last pair"),
        pytest.param(lambda n: ROUND, id="round"),
        pytest.param(lambda n: both((1, 2), (2, 3)), id="two pairs"),
        pytest.param(lambda n: only_sends(n, n), id="last only sends"),
        pytest.param(lambda n: only_sends(1, n), id="first only sends"),
        pytest.param(lambda n: only_hears(n, n), id="last only hears"),
        pytest.param(lambda n: only_hears(1, n), id="first only hears"),
    ],
)
def test_broken_links_end_in_rings_that_stand(links: Callable[[int], Links], nodes: int) -> None:
    """No attempt is made with who does not hear all of a ring, or is not heard by all (docs/totem.md §5.8)."""
    broken, mended = links(nodes), FORMED + 50 * TOKEN
    # Three nodes that each do not hear the one before take longer, the more so beside others: 16 to 32 timeouts.
    settled = 40 if broken == ROUND else 20
    options = replace(plain(1, nodes), fault_seconds=mended + 10.0)
    outcome = lived(options, [(FORMED, CutLinks(broken)), (mended, Heal())], load_of(nodes, mended, 0.25))
    for node in range(1, nodes + 1):
        assert changes(outcome, node, FORMED + settled * TOKEN, mended) == 0, "it stands"
        together = [at for at, regular in configurations(outcome, node) if len(regular.members) == nodes]
        if changes(outcome, node, FORMED, mended):
            assert min(at for at in together if at > mended) - mended <= 2 * (options.ring.token + CONSENSUS)


@pytest.mark.parametrize("pair", [(1, 3), (2, 4), (3, 1)])
def test_a_link_that_the_token_does_not_take_may_be_broken(pair: tuple[int, int]) -> None:
    """Whom a member does not hear need not send it what it misses: the others do (docs/totem.md §4.10)."""
    end = FORMED + 60 * TOKEN
    options = replace(plain(1, 5), fault_seconds=end)
    outcome = lived(options, [(FORMED, CutLinks((pair,)))], load_of(5, end, 0.1))
    assert all(changes(outcome, node, FORMED, end) == 0 for node in range(1, 6))


@pytest.mark.parametrize("turns", range(4, 12))
def test_a_link_that_is_mended_is_used_at_once(turns: int) -> None:
    """However long both sides have come to back off by then (docs/totem.md §5.8): two failures' worth is enough."""
    deaf, mute, every = ((1, 3), (2, 3)), ((3, 1), (3, 2)), 2.5
    mended = FORMED + turns * every
    faults: list[tuple[float, Fault]] = []
    for turn in range(turns):
        faults += [(FORMED + turn * every, Heal()), (FORMED + turn * every, CutLinks((deaf, mute)[turn % 2]))]
    options = replace(plain(1, 3), fault_seconds=mended + 10.0)
    outcome = lived(options, [*faults, (mended, Heal())], load_of(3, mended + 10.0, 0.25))
    limit = 2 * (options.ring.token + options.ring.consensus)
    for node in (1, 2, 3):
        together = [at for at, regular in configurations(outcome, node) if regular.members == (1, 2, 3)]
        assert min(at for at in together if at > mended) - mended <= limit


@pytest.mark.parametrize("deaf", [1, 2, 3])
def test_a_deaf_member_is_put_out_by_all_and_stays_out_while_it_is_deaf(deaf: int) -> None:
    """It gets tokens and joins, but no messages, as behind a link that loses large packets (docs/totem.md §4.4)."""
    options = plain(1, 3)
    options = replace(options, fault_seconds=26.0, ring=replace(options.ring, fail_recv_const=50))
    others = [node for node in (1, 2, 3) if node != deaf]
    fault = Lossy(("Mcast",), tuple((node, deaf) for node in others), 1.0, 20.0)
    outcome = lived(options, [(FORMED, fault)], load_of(3, 26.0, 0.1))
    assert outcome.coverage["fail_to_receive"] > 0
    for node in others:
        assert time_with(outcome, node, deaf, 10.0, 22.0) < 2.0, "it is out"
        assert changes(outcome, node, FORMED, 22.0) <= 12, "not in and out for ever"
        assert time_with(outcome, node, others[others[0] == node], 10.0, 22.0) > 11.0, "the others stay together"
    back = [at for at, regular in configurations(outcome, others[0]) if at > 22.0 and deaf in regular.members]
    assert back and back[0] < 22.0 + 17 * options.ring.token


# -- size


def options_of(tmp_path: Path, nodes: int, **totem: int) -> Options:
    """A run with the constants that a configuration of so many nodes comes to."""
    file = tmp_path / "corosync.conf"
    addresses = {node: f"127.99.0.{node}" for node in range(1, nodes + 1)}
    named = {f"totem.{name}": value for name, value in totem.items()}
    file.write_text(cluster_configuration(1, addresses, 5405, "/nowhere", named))
    options = plain(1, nodes)
    slow = replace(options.weather, latency=0.09)
    return replace(options, fault_seconds=15.0, weather=slow, ring=ring_parameters(load(file), 1_400))


@pytest.mark.parametrize("nodes", [3, 8, 16])
def test_timeouts_grow_with_the_number_of_nodes(nodes: int, tmp_path: Path) -> None:
    """On a slow network a rotation takes longer the more nodes there are; the defaults allow for that."""
    options = options_of(tmp_path, nodes, token=1000)
    assert options.ring.token == pytest.approx(1.0 + 0.65 * (nodes - 2))
    assert options.ring.consensus == pytest.approx(1.2 * options.ring.token)
    outcome = lived(options, [], load_of(nodes, 15.0, 0.5, start=12.0))
    for node in (1, nodes):
        assert changes(outcome, node, 10.0, outcome.seconds) == 0, "it stands"
        assert len(configurations(outcome, node)[-1][1].members) == nodes


def test_without_the_coefficient_sixteen_such_nodes_form_no_ring(tmp_path: Path) -> None:
    """What the test above would not notice if the network were quick enough anyway."""
    options = options_of(tmp_path, 16, token=1000, token_coefficient=0)
    cluster = Cluster(options, script=Script(options, (), ()))
    cluster.scheduler.run_until(8.0)
    assert all(node.ring is not None and len(node.ring.members) < 16 for node in cluster.nodes)
