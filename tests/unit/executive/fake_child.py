"""A child process that does as it is told: `python fake_child.py NAME --run-dir DIR`.

It behaves as `DIR/NAME.mode` says when it starts, and appends what it does to `DIR/events`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from totemd.executive.config.model import Configuration
from totemd.executive.runtime.child import Answer, ChildContext, Question, run_child
from totemd.ipc.errors import ConfigurationError, NotFound, OperationFailed
from totemd.ipc.ids import RingId
from totemd.ipc.messages.control import (
    AppInfo,
    AppsAnswer,
    AppsQuestion,
    GroupInfo,
    GroupsAnswer,
    GroupsQuestion,
    Metric,
    MetricsAnswer,
    MetricsQuestion,
    RingAnswer,
    RingQuestion,
)


class FakeChild:
    """Implements `ChildProgram`."""

    def __init__(self, context: ChildContext) -> None:
        self.context = context
        self.name = context.name
        mode = context.run_dir / f"{self.name}.mode"
        self.mode = mode.read_text() if mode.exists() else ""

    def note(self, event: str) -> None:
        with (self.context.run_dir / "events").open("a") as events:
            events.write(f"{self.name} {event}\n")

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.note("starts")
        match self.mode:
            case "exit":
                os._exit(3)
            case "fatal":
                self.context.fatal(f"{self.name} is of no use")
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
                loop.call_later(0.05, time.sleep, 1000)
            case "late bug":
                loop.call_later(0.05, dict[str, str]().pop, "a bug")
        self.note(f"key {len(self.context.key)} token {self.context.configuration.totem.token}")

    def reconfigure(self, configuration: Configuration) -> None:
        self.note(f"token {configuration.totem.token}")

    def answer(self, question: Question) -> Answer:
        match self.name, question:
            case "totem", RingQuestion(request):
                return RingAnswer(request, "operational", RingId(8, 1), (1, 2), "aes256")
            case "cpg", GroupsQuestion(request):
                odd = GroupInfo(b"\xff\\", ((1, 7),))
                return GroupsAnswer(request, (GroupInfo(b"chat", ((1, 100), (2, 200))), odd))
            case "sam", AppsQuestion(request):
                return AppsAnswer(request, (AppInfo("app", 1, 0, "backoff", 2, "restart"),))
            case _, MetricsQuestion(request):
                return MetricsAnswer(request, (Metric("totemd_fake", "gauge", True, "A fake."),))
        raise NotFound(f"{self.name} does not know")

    async def stop(self) -> None:
        self.note("stops")
        if self.mode == "takes its time":
            self.context.still_stopping()
        if self.mode == "stubborn":
            await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(run_child(sys.argv[1], FakeChild, sys.argv[2:]))
