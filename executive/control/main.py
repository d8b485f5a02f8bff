"""The command line of `totemctl`: exit code 0 done, 1 failed (one line on stderr), 2 usage.

`totemctl quorum` alone has 2 for "not quorate", too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ...ipc.errors import TotemdError
from ...ipc.paths import run_dir
from ..runtime import stdout
from ..runtime.version import VERSION
from .apps import apps
from .asking import Options
from .blackbox import blackbox
from .cmap import cmap
from .groups import groups
from .keygen import keygen
from .members import members
from .metrics import metrics
from .quorum import quorum
from .reload import reload
from .shutdown import shutdown
from .status import status
from .top import top

EXIT_FAILED = 1
EXIT_USAGE = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--run-dir",
    "directory",
    type=click.Path(path_type=Path, readable=False),
    metavar="DIR",
    help="The node's run directory; else COROSYNC_RUN_DIR, else the one of a totemd that this user starts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; may also follow the command.")
@click.version_option(VERSION, prog_name="totemctl", message="%(prog)s %(version)s")
@click.pass_context
def totemctl(context: click.Context, directory: Path | None, as_json: bool) -> None:
    """Look at and steer the totemd node on this machine.  Exit codes: 0 done, 1 failed, 2 usage."""
    context.obj = Options(run_dir(directory))
    context.obj.as_json = as_json


for each in (keygen, status, members, groups, apps, blackbox, cmap, metrics, quorum, reload, shutdown, top):
    totemctl.add_command(each)


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    try:
        with stdout.checked():
            code = totemctl.main(arguments, prog_name="totemctl", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except click.Abort:
        return EXIT_FAILED
    except TotemdError as error:
        click.echo(f"totemctl: {'; '.join(str(error).splitlines())}", err=True)
        return EXIT_FAILED
    return code if isinstance(code, int) else 0
