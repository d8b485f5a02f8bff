"""What goes on until Ctrl-C: a picture on the whole screen that is looked at again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from ...ipc.errors import TotemdError
from .showing import console

Look = Callable[[int], RenderableType]
"""Makes the picture for a screen with so many lines."""


def watch(look: Look, seconds: float) -> None:
    """Show what *look* finds, each so many seconds, until Ctrl-C.

    A node that is away is waited for: the last picture stays, below the reason.

    Raises:
        TotemdError: the very first look fails.
    """
    screen = console()
    picture = look(screen.height)
    try:
        with Live(picture, console=screen, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(seconds)
                try:
                    shown = picture = look(screen.height)
                except TotemdError as error:
                    shown = Group(Text(f"{error}; this was seen last:", style="bold red"), picture)
                live.update(shown, refresh=True)
    except KeyboardInterrupt:
        return
