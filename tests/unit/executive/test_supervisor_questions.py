"""Questions to children: answered, refused, late, lost."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from totemd.executive.supervisor import questions
from totemd.executive.supervisor.questions import Questions
from totemd.ipc.errors import NotFound, TryAgain
from totemd.ipc.messages.common import refusal
from totemd.ipc.messages.control import AppsAnswer, AppsQuestion, RingQuestion


class Children:
    """Takes down what is sent to them."""

    def __init__(self, *connected: str) -> None:
        self.connected = connected
        self.asked: list[tuple[str, msgspec.Struct]] = []

    def send(self, child: str, message: msgspec.Struct) -> bool:
        self.asked.append((child, message))
        return child in self.connected


def test_an_answer_goes_to_who_asked() -> None:
    async def story() -> None:
        children = Children("sam", "totem")
        desk = Questions(children.send)
        first = asyncio.create_task(desk.ask("sam", AppsQuestion))
        second = asyncio.create_task(desk.ask("sam", AppsQuestion))
        await asyncio.sleep(0)
        assert children.asked == [("sam", AppsQuestion(1)), ("sam", AppsQuestion(2))]
        desk.answered("sam", AppsAnswer(2, ()))
        desk.answered("totem", AppsAnswer(1, ()))  # not its question
        desk.answered("sam", AppsAnswer(77, ()))  # nobody's
        assert (await second).request == 2
        assert not first.done()
        desk.answered("sam", refusal(NotFound("no such thing"), 1))
        desk.answered("sam", AppsAnswer(1, ()))  # twice
        with pytest.raises(NotFound, match="no such thing"):
            await first

    asyncio.run(story())


def test_a_child_that_is_away() -> None:
    async def story() -> None:
        with pytest.raises(TryAgain, match="the totem process is not running"):
            await Questions(Children().send).ask("totem", RingQuestion)

    asyncio.run(story())


def test_a_child_that_ends_before_it_answers() -> None:
    async def story() -> None:
        desk = Questions(Children("sam", "totem").send)
        apps = asyncio.create_task(desk.ask("sam", AppsQuestion))
        ring = asyncio.create_task(desk.ask("totem", RingQuestion))
        await asyncio.sleep(0)
        desk.gone("totem")
        with pytest.raises(TryAgain, match="the totem process ended"):
            await ring
        assert not apps.done()
        apps.cancel()

    asyncio.run(story())


def test_a_child_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        desk = Questions(Children("totem").send)
        with pytest.raises(TryAgain, match="did not answer within"):
            await desk.ask("totem", RingQuestion)
        desk.answered("totem", AppsAnswer(1, ()))  # late

    monkeypatch.setattr(questions, "QUESTION_SECONDS", 0.01)
    asyncio.run(story())
