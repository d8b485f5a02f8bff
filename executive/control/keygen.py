"""`totemctl keygen`: make the cluster key."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ...ipc.errors import InvalidArgument
from ..config.load import KEY_FILE_VARIABLE
from ..config.model import DEFAULT_KEY_FILE
from ..keygen import KEY_BITS_DEFAULT, create_key
from .asking import Options, command
from .showing import print_json


@command("keygen")
@click.option(
    "-k",
    "file",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help=f"Where to write it; else {KEY_FILE_VARIABLE}, else {DEFAULT_KEY_FILE}.",
)
@click.option(
    "-s", "bits", type=int, default=KEY_BITS_DEFAULT, show_default=True, metavar="BITS", help="Size of the key."
)
@click.option("--force", is_flag=True, help="Replace a key that exists; nodes with the old one are shut out then.")
def keygen(options: Options, file: Path | None, bits: int, force: bool) -> None:
    """Make the key that all nodes of a cluster share.  From the kernel's generator; only its owner can read it."""
    try:
        path = create_key(file or os.environ.get(KEY_FILE_VARIABLE) or DEFAULT_KEY_FILE, bits, force=force)
    except InvalidArgument as error:
        raise click.BadParameter(str(error), param_hint="-s") from None
    if options.as_json:
        print_json({"path": str(path), "bits": bits})
    else:
        click.echo(f"wrote a key of {bits} bits to {path}; copy it to every node of the cluster")
