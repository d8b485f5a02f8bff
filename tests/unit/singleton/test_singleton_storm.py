"""Storms: whatever happens, the application runs once at most, its fence rises, and it runs when the storm is over."""

from __future__ import annotations

import pytest
from judge import complaints
from weather import Weather


@pytest.mark.parametrize("seed", range(16))
def test_never_two_at_once(seed: int) -> None:
    world = Weather(3 if seed % 2 else 5, seed, seconds=60.0).run()
    assert complaints(world.stays) == [], "\n".join(world.story)
    assert len(world.running) == 1, "\n".join(world.story[-60:])
    assert len(world.stays) > 1
