"""From the configuration to the core's parameters: what is configured is taken as it is, the rest fits the machine."""

from __future__ import annotations

import math

import pytest
from totemd.executive.config.model import Configuration, NodeEntry
from totemd.executive.totem.links.settings import SOCKET_BUFFER_BYTES
from totemd.executive.totem.options import (
    FRAME_DATAGRAMS_MAX,
    FRAME_DATAGRAMS_MIN,
    PARK_VISITS,
    WINDOW_GROWTH,
    ring_parameters,
)
from totemd.executive.totem.wire.codec import MCAST_OVERHEAD_BYTES
from totemd.executive.totem.wire.packets import FRAME_BODY_BYTES_MAX
from totemd.executive.totem.wire.packing import BODY_OVERHEAD_BYTES, PART_OVERHEAD_BYTES
from totemd.executive.totem.wire.seal import PAYLOAD_BYTES_MAX

UNIT = 1400


def test_a_window_may_grow_to_half_of_what_the_kernel_keeps_and_not_beyond_its_bound() -> None:
    growth = {size: ring_parameters(Configuration(), UNIT, size).window_growth for size in (10_000, 300_000, 2**30)}
    assert growth == {10_000: 1, 300_000: 300_000 // 2 // (50 * UNIT), 2**30: WINDOW_GROWTH}
    assert WINDOW_GROWTH * 50 * UNIT <= SOCKET_BUFFER_BYTES / 2, "what a link asks for is enough for the whole window"


@pytest.mark.parametrize("option", ["window_size", "max_messages"])
def test_a_window_that_is_configured_does_not_grow(option: str) -> None:
    assert ring_parameters(Configuration(cmap={f"totem.{option}": 100}), UNIT).window_growth == 1


def test_rotations_before_the_token_rests_are_as_configured() -> None:
    assert ring_parameters(Configuration(), UNIT).park_visits == PARK_VISITS
    assert ring_parameters(Configuration(cmap={"totem.seqno_unchanged_const": 30}), UNIT).park_visits == 0


def frame_datagrams(nodes: int, buffer_bytes: int = SOCKET_BUFFER_BYTES, unit: int = UNIT, **cmap: int) -> float:
    configuration = Configuration(
        cmap={f"totem.{name}": value for name, value in cmap.items()},
        nodes=tuple(NodeEntry(number) for number in range(1, nodes + 1)),
    )
    return math.ceil(ring_parameters(configuration, unit, buffer_bytes).frame_bytes / unit)


def test_frames_are_large_where_a_window_has_room_for_one_of_each_member() -> None:
    assert [frame_datagrams(nodes) for nodes in (1, 3, 5, 8, 16, 32)] == [180, 180, 160, 100, 50, 44]
    assert frame_datagrams(3, buffer_bytes=200_000) == FRAME_DATAGRAMS_MIN, "a small receive buffer"
    assert frame_datagrams(3, window_size=50) == FRAME_DATAGRAMS_MIN, "what is configured is taken as it is"
    assert frame_datagrams(3, unit=8_900) < FRAME_DATAGRAMS_MAX / 4, "a frame has a longest"


@pytest.mark.parametrize("unit", [100, 1_400, 8_900, 65_000])
@pytest.mark.parametrize("nodes", [1, 3, 16])
def test_a_full_frame_can_be_sealed_and_cut_in_recovery_too(unit: int, nodes: int) -> None:
    configuration = Configuration(nodes=tuple(NodeEntry(number) for number in range(1, nodes + 1)))
    longest = ring_parameters(configuration, unit).frame_bytes + 2 * MCAST_OVERHEAD_BYTES
    assert BODY_OVERHEAD_BYTES + PART_OVERHEAD_BYTES < longest <= min(FRAME_BODY_BYTES_MAX, PAYLOAD_BYTES_MAX)
