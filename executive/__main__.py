"""`totemd`: the command line of the executive.

Everything that can be wrong is found before the process detaches, locks its pid file or starts a child: the
privileges, the configuration with all its errors, the key, the run directory.  Exit codes: `supervisor.exits`,
also shown by `totemd --help`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ..ipc.endpoints import PRIVATE_SOCKET_MODE, SOCKET_PATH_BYTES_MAX
from ..ipc.errors import AccessDenied, ConfigurationError, KeyFileError, OperationFailed
from ..ipc.paths import EXECUTIVE_SOCKET, RUN_DIR_VARIABLE, run_dir
from .config.load import CONFIG_FILE_VARIABLE, KEY_FILE_VARIABLE
from .config.model import Configuration
from .keygen import cluster_key
from .runtime import descriptors, logging, stdout
from .runtime.access import socket_mode
from .runtime.version import VERSION
from .supervisor.detach import Announcement, detach
from .supervisor.exits import ExitCode
from .supervisor.facts import effective_values
from .supervisor.pidfile import AlreadyRunning, PidFile, prepare_run_dir
from .supervisor.process import Startup, run_executive
from .supervisor.reload import Reloader
from .supervisor.specs import NODE, Tree, with_quorum


class StartRefused(Exception):
    """totemd does not start; `code` is its exit code, the text is for stderr."""

    def __init__(self, code: ExitCode, text: str) -> None:
        super().__init__(text)
        self.code = code


PATH_VARIABLES = (CONFIG_FILE_VARIABLE, KEY_FILE_VARIABLE, RUN_DIR_VARIABLE)
"""Environment variables that name files, and are read again by a reload."""

EPILOG = "Exit codes: " + " · ".join(f"{code.value} {code.meaning}" for code in ExitCode)


@click.command(name="totemd", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "config",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Configuration file; else COROSYNC_MAIN_CONFIG_FILE, else /etc/corosync/corosync.conf.",
)
@click.option("-f", "foreground", is_flag=True, help="Stay in the foreground; this is the default.")
@click.option(
    "-d", "background", is_flag=True, help="Detach; the command returns when the node is ready, or cannot be."
)
@click.option(
    "-t",
    "test",
    is_flag=True,
    help="Check the configuration and exit: 0 good, 2 not; a key that cannot be used is a warning.",
)
@click.option("--strict", is_flag=True, help="Unknown names in the configuration are errors.")
@click.option(
    "--run-dir",
    "named_run_dir",
    type=click.Path(path_type=Path, readable=False),
    metavar="DIR",
    help="Directory for sockets, pid file and state; else COROSYNC_RUN_DIR, else /run/totemd for root, and for others "
    "$XDG_RUNTIME_DIR/totemd, or where that is not set totemd-UID in the directory for temporary files ($TMPDIR).",
)
@click.option("-v", "--version", "version", is_flag=True, help="Print the version and exit.")
def totemd(  # noqa: PLR0917 (click passes them by name)
    config: Path | None,
    foreground: bool,
    background: bool,
    test: bool,
    strict: bool,
    named_run_dir: Path | None,
    version: bool,
) -> int:
    """Run a cluster node: the Totem ring, closed process groups, the availability manager."""
    if version:
        click.echo(f"totemd {VERSION} (Python {sys.version.split()[0]})")
        return ExitCode.DONE
    if foreground and background:
        raise click.UsageError("-f and -d exclude each other")
    refuse_foreign_privileges(os.getresuid(), os.getresgid())
    reloader = Reloader(config and config.absolute(), named_run_dir and named_run_dir.absolute(), strict)
    configuration = reloader.load()
    if test:
        return _report_test(configuration)
    return start(reloader, configuration, run_dir(named_run_dir), with_quorum(NODE, configuration.quorum), background)


def start(reloader: Reloader, configuration: Configuration, directory: Path, tree: Tree, background: bool) -> int:
    """Run the node with a configuration that has been checked; the exit code.

    Raises:
        StartRefused: it cannot start.
        KeyFileError: the key cannot be used.
    """
    key = cluster_key(configuration.totem)
    _prepare(directory, configuration)
    announcement = detach(PATH_VARIABLES) if background else Announcement()
    pid_file = PidFile(directory)
    try:
        pid_file.acquire()  # after the fork: the lock and the pid are those of the process that stays
        logging.configure(configuration.logging)
    except AlreadyRunning as error:
        return _refuse(announcement, ExitCode.ALREADY_RUNNING, str(error))
    except OperationFailed as error:
        code = ExitCode.LOGGING if pid_file.held else ExitCode.PID_FILE
        pid_file.release()
        return _refuse(announcement, code, str(error))
    descriptors.raise_limit()
    try:
        code, because = asyncio.run(run_executive(Startup(tree, directory, configuration, key, reloader, announcement)))
    except OperationFailed as error:
        code, because = ExitCode.FAILED, str(error)
    finally:
        pid_file.release()
    log = logging.get_logger()
    if code is ExitCode.DONE:
        log.notice("totemd Cluster Engine exiting normally")
        return code
    log.crit(f"totemd Cluster Engine exiting: {because}", exit_code=int(code))
    return _refuse(announcement, code, because)


def refuse_foreign_privileges(user: tuple[int, int, int], group: tuple[int, int, int]) -> None:
    """Neither setuid nor setgid: whoever starts the node could make it read and write files of somebody else.

    Raises:
        StartRefused: the real, effective and saved ids differ.
    """
    for what, (real, effective, saved) in (("setuid", user), ("setgid", group)):
        if not real == effective == saved:
            raise StartRefused(
                ExitCode.PRIVILEGES,
                f"totemd does not run {what} (real id {real}, effective id {effective}); start it as the user that "
                f"owns the node, without the {what} bit",
            )


def _report_test(configuration: Configuration) -> int:
    notices = list(configuration.notices)
    try:
        cluster_key(configuration.totem)
    except KeyFileError as error:
        notices.append(str(error))  # the file may be checked where the key is not, or not yet
    for notice in notices:
        click.echo(f"warning: {notice}", err=True)
    values = " ".join(f"{key}={value}" for key, value in effective_values(configuration).items())
    click.echo(f"configuration is good: {values}")
    return ExitCode.DONE


def _prepare(directory: Path, configuration: Configuration) -> None:
    if len(os.fsencode(directory / EXECUTIVE_SOCKET)) > SOCKET_PATH_BYTES_MAX:
        raise StartRefused(
            ExitCode.RUN_DIRECTORY,
            f"run directory {directory}: its name is too long for a socket in it "
            f"({SOCKET_PATH_BYTES_MAX - len(EXECUTIVE_SOCKET) - 1} bytes at most); choose another with --run-dir",
        )
    try:
        prepare_run_dir(directory, shared=socket_mode(configuration.access) != PRIVATE_SOCKET_MODE)
    except OperationFailed as error:
        raise StartRefused(ExitCode.RUN_DIRECTORY, str(error)) from None


def _refuse(announcement: Announcement, code: ExitCode, reason: str) -> int:
    announcement.make(code, reason)
    click.echo(f"totemd: {reason}", err=True)
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    try:
        with stdout.checked():
            code: int = totemd.main(arguments, prog_name="totemd", standalone_mode=False)
        return code
    except ConfigurationError as error:
        click.echo("\n".join(error.problems), err=True)
        return ExitCode.CONFIGURATION
    except KeyFileError as error:
        click.echo(f"totemd: {error}", err=True)
        return ExitCode.CONFIGURATION
    except AccessDenied as error:  # the run directory is somebody else's
        click.echo(f"totemd: {error}", err=True)
        return ExitCode.RUN_DIRECTORY
    except StartRefused as error:
        click.echo(f"totemd: {error}", err=True)
        return error.code
    except stdout.OutputFailed as error:
        click.echo(f"totemd: {error}", err=True)
        return ExitCode.FAILED
    except click.ClickException as error:
        error.show()
        return ExitCode.CONFIGURATION
    except click.Abort:
        return ExitCode.CONFIGURATION


if __name__ == "__main__":
    sys.exit(main())
