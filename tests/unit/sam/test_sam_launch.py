"""What cannot be started because this process has reached a limit of its own is a start that fails, and no more."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from totemd.sam.children import Children
from totemd.sam.helper import Helper
from totemd.sam.launch import EXIT_FAILED, Launch, NotStarted
from totemd.sam.probe import PsutilProbe


@contextmanager
def no_descriptor_to_be_had(but: int = 0) -> Iterator[None]:
    """Open files are limited to those that there are, and *but* more."""
    free = [os.dup(0) for _ in range(but + 1)]
    for fd in free:
        os.close(fd)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("more", [{"directory": Path("/")}, {"niceness": 1}])
def test_an_application(more: dict[str, Path | int]) -> None:
    launch = Launch(("true",), **more)  # type: ignore[arg-type]
    with no_descriptor_to_be_had(), pytest.raises(NotStarted, match="true: Too many open files") as caught:
        launch.spawn({}, {})
    assert caught.value.exit_code == EXIT_FAILED


@pytest.mark.parametrize("but", range(4))
def test_a_command_about_an_application(but: int) -> None:
    """No descriptor is left open either."""

    async def live() -> None:
        probe = PsutilProbe()
        helper = Helper(Launch(("true",), directory=Path("/")), Children(probe), probe)
        before = os.listdir("/proc/self/fd")
        with no_descriptor_to_be_had(but), pytest.raises(NotStarted, match="Too many open files"):
            await helper.run("true", {}, 5.0)
        assert os.listdir("/proc/self/fd") == before

    asyncio.run(live())
