"""The rows of declared applications: sam-run's own options (`sam.section` has that table), and what is between them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import click

from ...sam.section import PARAMETERS, Key, is_flag, split_command
from .kinds import Switch, Text
from .options import Option

SECRET_KEYS = frozenset({"env"})
"""Keys whose values often hold passwords: not shown in cmap."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A program and its arguments."""

    accepts: str = "a program and its arguments, quoted as for a shell"

    def read(self, path: str, text: str) -> str:
        try:
            split_command(text)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return text


def _of_sam_run(key: str, parameter: click.Parameter) -> Option:
    default = None if parameter.default is None or key == "name" else _default_text(parameter)
    return Option(
        path=f"sam.app.{key}",
        kind=Key(parameter),
        default=default,
        field=None,
        reload=True,
        many=parameter.multiple,
        is_path=isinstance(parameter.type, click.Path),
        secret=key in SECRET_KEYS,
        doc=_doc(key, parameter),
    )


def _default_text(parameter: click.Parameter) -> str | None:
    if is_flag(parameter):
        return "yes" if parameter.default is True else "no"
    return str(parameter.default) if isinstance(parameter.default, str | int | float) else None


def _doc(key: str, parameter: click.Parameter) -> str:
    if key == "name":
        return "Unique among applications and groups; needed."
    help_text = " ".join(str(getattr(parameter, "help", None) or "").split())
    text = re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda found: f"`{found[1].replace('-', '_')}`", help_text)
    return f"{text} May be repeated." if parameter.multiple else text


def _names(key: str, doc: str) -> Option:
    kind = Text("names, separated by blanks", may_be_empty=False)
    return Option(path=f"sam.app.{key}", kind=kind, field=None, reload=True, many=True, doc=f"{doc} May be repeated.")


SAM_OPTIONS: tuple[Option, ...] = (
    _of_sam_run("name", PARAMETERS["name"]),
    Option(
        path="sam.app.command",
        kind=CommandLine(),
        field=None,
        reload=True,
        doc="What is run; needed. Quotes and backslashes are as in a shell; there are no variables and no patterns. A "
        "program without a slash is looked for in PATH.",
    ),
    _names(
        "group", "Groups that it belongs to: names for several applications, wherever one application can be named."
    ),
    _names(
        "after",
        "Applications and groups that it starts after, and stops before. Those that are not to run are not waited for.",
    ),
    _names("requires", "The same for those that it cannot be without: it runs only while they are wanted, too."),
    Option(
        path="sam.app.autostart",
        kind=Switch(),
        default=True,
        field=None,
        reload=True,
        doc="Whether it starts by itself; otherwise `totemctl apps start NAME` does, or one that requires it.",
    ),
    *(_of_sam_run(key, parameter) for key, parameter in PARAMETERS.items() if key != "name"),
)
