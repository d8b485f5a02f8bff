"""A child process that does as it is told, for the tests of the executive."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

FAKE_CHILD = '''
import asyncio, os, sys, time
from pathlib import Path

from totemd.executive.runtime.child import run_child
from totemd.ipc.errors import ConfigurationError, NotFound, OperationFailed
from totemd.ipc.ids import RingId
from totemd.ipc.messages.control import (
    AppInfo, AppsAnswer, AppsQuestion, GroupInfo, GroupsAnswer, GroupsQuestion, Metric, MetricsAnswer, MetricsQuestion,
    RingAnswer, RingQuestion,
)

NAME = "@NAME@"


class Fake:
    """Behaves as RUN_DIR/NAME.mode says, and writes what it does into RUN_DIR/events."""

    def __init__(self, context):
        self.context = context
        mode = context.run_dir / f"{NAME}.mode"
        self.mode = mode.read_text() if mode.exists() else ""

    def note(self, event):
        with (self.context.run_dir / "events").open("a") as events:
            events.write(f"{NAME} {event}\\n")

    async def start(self):
        self.note("starts")
        match self.mode:
            case "exit":
                os._exit(3)
            case "fatal":
                self.context.fatal(f"{NAME} is of no use")
                return
            case "configuration":
                raise ConfigurationError("x.conf:7: no such thing")
            case "refuse":
                raise OperationFailed("cannot bind")
            case "bug":
                raise KeyError("a bug")
            case "never ready":
                await asyncio.Event().wait()
            case "hang":
                asyncio.get_running_loop().call_later(0.05, time.sleep, 1000)
            case "late bug":
                asyncio.get_running_loop().call_later(0.05, lambda: {}["a bug"])
        self.note(f"key {len(self.context.key)} token {self.context.configuration.totem.token}")

    def reconfigure(self, configuration):
        self.note(f"token {configuration.totem.token}")

    def answer(self, question):
        match NAME, question:
            case "totem", RingQuestion(request):
                return RingAnswer(request, "operational", RingId(8, 1), (1, 2), "aes256")
            case "cpg", GroupsQuestion(request):
                return GroupsAnswer(request, (GroupInfo(b"chat", ((1, 100), (2, 200))), GroupInfo(b"\\xff\\\\", ((1, 7),))))
            case "sam", AppsQuestion(request):
                return AppsAnswer(request, (AppInfo("app", 1, 0, "backoff", 2, "restart"),))
            case _, MetricsQuestion(request):
                return MetricsAnswer(request, (Metric("totemd_fake", "gauge", True, "A fake."),))
        raise NotFound(f"{NAME} does not know")

    async def stop(self):
        self.note("stops")
        if self.mode == "stubborn":
            await asyncio.Event().wait()


sys.exit(run_child(NAME, Fake))
'''


@pytest.fixture(scope="session")
def fake_child() -> str:
    """Source of a child; `@NAME@` stands for its name.  `python -c SOURCE --run-dir DIR` runs it."""
    return FAKE_CHILD


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A run directory with a name that is short enough for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="td-"))
    yield directory
    shutil.rmtree(directory)
