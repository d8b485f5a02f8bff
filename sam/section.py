"""`sam { app { … } }` of the configuration: sam-run's own options, under the same names, with the same rules.

The table is that of the command line (`options.py`).  An option `--stop-timeout` is the key `stop_timeout`; one that
may be repeated there may be repeated here; a flag is `yes` or `no`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from ..ipc.errors import InvalidArgument
from .option_types import numbers
from .options import OPTIONS, RunOptions, run_options

NOT_DECLARED = frozenset(
    {
        *("command", "run_dir", "require_sam", "quiet", "detach", "if_orphaned", "orphan"),
        # A guardian guards a sam-run of its own.
        *("singleton", "yield_timeout"),
    }
)
"""What is about sam-run itself: its terminal, and which node it belongs to.  `command` is one line of the section."""

UNITS = {"MS": "ms", "S": "seconds"}
"""What the placeholders of the command line's help mean in a sentence."""

FLAG_WORDS = {"yes": True, "on": True, "no": False, "off": False}


@click.command
def _table(**_: Any) -> None:
    """Nothing runs this; it holds the parameters."""


for _option in OPTIONS:
    _table = _option(_table)

PARAMETERS: dict[str, click.Parameter] = {
    str(parameter.name): parameter for parameter in _table.params if parameter.name not in NOT_DECLARED
}
"""The options that an application of the configuration can have, by key."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a key of the section accepts."""

    parameter: click.Parameter

    @property
    def accepts(self) -> str:
        """What may be written, for people."""
        kind = self.parameter.type
        if is_flag(self.parameter):
            return "yes or no"
        if isinstance(kind, click.Choice):
            *most, last = map(str, kind.choices)
            return f"{', '.join(most)} or {last}" if most else last
        metavar = self.parameter.metavar or ""
        unit = f" {UNITS.get(metavar, metavar)}" if metavar else ""
        if isinstance(kind, click.IntRange | click.FloatRange):
            return f"{numbers(kind)}{unit}"
        return unit.strip() or "text"

    def read(self, path: str, text: str) -> str:
        """*text*, if the option accepts it.

        Raises:
            ValueError: it does not; the text says what would be accepted.
        """
        if is_flag(self.parameter) and text not in FLAG_WORDS:
            raise ValueError(f'{path}: "{text}" is no switch; accepted: {self.accepts}')
        try:
            _parsed({str(self.parameter.name): (text,)}, ("true",))
        except click.UsageError as error:
            message = error.message.rstrip(".")
            hint = "" if "accepted" in message else f"; accepted: {self.accepts}"
            raise ValueError(f"{path}: {message}{hint}") from None
        return text


def is_flag(parameter: click.Parameter) -> bool:
    """Whether an option is switched on by its name alone."""
    return isinstance(parameter, click.Option) and parameter.is_flag


def split_command(text: str) -> tuple[str, ...]:
    """Program and arguments as a shell splits them: quotes and backslashes, no variables, no patterns.

    Raises:
        ValueError: nothing is there, or a quote is not closed.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"{error}; quotes come in pairs") from None
    if not words or not words[0]:
        raise ValueError("no program is named; accepted: a program and its arguments")
    return words


def declared_options(name: str, command: Sequence[str], texts: Mapping[str, Sequence[str]]) -> RunOptions:
    """What sam-run would do with the same options.

    Raises:
        InvalidArgument: a value is not acceptable, or they do not fit together.
    """
    try:
        return run_options(_parsed({**texts, "name": (name,)}, command))
    except click.UsageError as error:
        raise InvalidArgument(error.format_message()) from None


def _parsed(texts: Mapping[str, Sequence[str]], command: Sequence[str]) -> dict[str, Any]:
    """The options as the command line has them: that is the whole rule."""
    words: list[str] = []
    for key, given in texts.items():
        parameter = PARAMETERS[key]
        name = max(parameter.opts, key=len)
        if is_flag(parameter):
            words += [name] * FLAG_WORDS[given[-1]]
        else:
            words += [f"{name}={text}" for text in given]
    with _table.make_context("sam-run", [*words, "--", *command]) as context:
        return context.params
