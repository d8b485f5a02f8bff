"""`totemctl cmap`: configuration and run-time values by key, in the line shape of corosync-cmapctl."""

from __future__ import annotations

import click

from ...ipc.errors import NotFound
from ...ipc.ids import NODE_ID_MAX
from ...ipc.messages.control import CmapDeleteRequest, CmapReply, CmapRequest, CmapSetRequest
from .asking import Options, command
from .showing import print_json

EFFECTIVE = "runtime.config."
"""Begins the keys of values that hold, whether the configuration has them or not."""


@click.group("cmap")
def cmap() -> None:
    """Configuration and run-time values by key."""


@command("list")
@click.argument("prefix", default="")
def list_keys(options: Options, prefix: str) -> None:
    """All keys, or those that begin with PREFIX."""
    with options.executive() as executive:
        reply: CmapReply = executive.ask(CmapRequest(prefix))
    _print(options, reply.values)


@command("get")
@click.argument("keys", nargs=-1, required=True, metavar="KEY…")
def get(options: Options, keys: tuple[str, ...]) -> None:
    """The value of each KEY."""
    with options.executive() as executive:
        reply: CmapReply = executive.ask(CmapRequest())
    missing = [key for key in keys if key not in reply.values]
    _print(options, {key: reply.values[key] for key in keys if key in reply.values})
    if missing:
        effective = [f"{EFFECTIVE}{key}" for key in missing if f"{EFFECTIVE}{key}" in reply.values]
        hint = f"; the value that holds is that of {', '.join(effective)}" if effective else ""
        raise NotFound(f"Can't get key {', '.join(missing)}: there is no such key{hint}")


@command("set")
@click.argument("key")
@click.argument("value")
def set_value(options: Options, key: str, value: str) -> None:
    """Give option KEY the VALUE on this node until the next reload.

    Only options that a reload could change, and only values that a file could hold.
    """
    with options.executive() as executive:
        executive.ask(CmapSetRequest(key, value))
        reply: CmapReply = executive.ask(CmapRequest(key))
    _print(options, {key: reply.values[key]} if key in reply.values else {})


@command("delete")
@click.argument("key")
def delete(options: Options, key: str) -> None:
    """Forget a failed application.  KEY is one of its resources.process.PID.*, or what these begin with."""
    with options.executive() as executive:
        executive.ask(CmapDeleteRequest(key))


for each in (list_keys, get, set_value, delete):
    cmap.add_command(each)


def line(key: str, value: str | int) -> str:
    """`totem.token (u32) = 1500`."""
    return f"{key} ({_kind(value)}) = {value}"


def _kind(value: str | int) -> str:
    if isinstance(value, str):
        return "str"
    if value < 0:
        return "i64"
    return "u32" if value <= NODE_ID_MAX else "u64"


def _print(options: Options, values: dict[str, str | int]) -> None:
    if options.as_json:
        print_json(values)
    else:
        for key, value in values.items():
            click.echo(line(key, value))
