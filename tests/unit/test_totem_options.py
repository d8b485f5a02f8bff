"""From the configuration to the core's parameters: what is configured is taken as it is, the rest fits the machine."""

from __future__ import annotations

import pytest
from totemd.executive.config.model import Configuration
from totemd.executive.totem.links.settings import SOCKET_BUFFER_BYTES
from totemd.executive.totem.options import PARK_VISITS, WINDOW_GROWTH, ring_parameters

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
