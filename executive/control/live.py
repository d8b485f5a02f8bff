"""What goes on until Ctrl-C: a picture that is looked at again and again.

At a terminal it has the whole screen.  Elsewhere, in a file or a pipe, one picture follows the other.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ...ipc.errors import TotemdError
from .showing import console, show

Look = Callable[[int], RenderableType]
"""Makes the picture for a screen with so many lines."""

ENDLESS = sys.maxsize
"""Lines of what is no screen."""


def watch(look: Look, seconds: float) -> None:
    """Show what *look* finds, each so many seconds, until Ctrl-C.  A node that is away is waited for.

    Raises:
        TotemdError: the very first look fails.
    """
    screen = console()
    with contextlib.suppress(KeyboardInterrupt):
        if screen.is_terminal:
            _on_screen(screen, look, seconds)
        else:
            _one_after_the_other(look, seconds)


def _on_screen(screen: Console, look: Look, seconds: float) -> None:
    """While the node is away, the last picture stays, below the reason."""
    picture = look(screen.height)
    with Live(picture, console=screen, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(seconds)
            try:
                shown = picture = look(screen.height)
            except TotemdError as error:
                shown = Group(Text(f"{error}; this was seen last:", style="bold red"), picture)
            live.update(shown, refresh=True)


def _one_after_the_other(look: Look, seconds: float) -> None:
    """While the node is away, the reason is on stderr, once."""
    show(look(ENDLESS))
    said = ""
    while True:
        time.sleep(seconds)
        try:
            picture = look(ENDLESS)
        except TotemdError as error:
            if str(error) != said:
                click.echo(error, err=True)
            said = str(error)
            continue
        said = ""
        show("", picture)
