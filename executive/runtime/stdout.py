"""Standard output that cannot be written: a full disk, a device that takes nothing."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from ...ipc.errors import OperationFailed


class OutputFailed(OperationFailed):
    """What a command has to say cannot be written to its standard output."""


@contextlib.contextmanager
def checked() -> Iterator[None]:
    """In here, what cannot be printed raises `OutputFailed`.  A reader that is gone is a `BrokenPipeError` as ever."""
    if sys.stdout is None:  # closed by whoever started this program, who therefore wants nothing
        yield
        return
    stream = sys.stdout
    try:
        with contextlib.redirect_stdout(cast(TextIO, _Checked(stream))):
            yield
    finally:
        _let_go(stream)


def _let_go(stream: TextIO) -> None:
    """What cannot be written goes nowhere: the interpreter would else fail over it once more when it ends."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class _Checked:
    """A stream whose errors tell whose they are; everything else is the stream's."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As the stream's."""
        with self._tells():
            return self._stream.write(text)

    def flush(self) -> None:
        """As the stream's."""
        with self._tells():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _tells(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputFailed(f"standard output cannot be written: {error.strerror or error}") from None
