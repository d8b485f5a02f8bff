"""Reading a configuration: the only module of this package that touches files, name servers and the machine.

What the texts mean is decided in `build`; this module finds the files, reads them, and answers for the machine.
"""

from __future__ import annotations

import grp
import ipaddress
import os
import pwd
import socket
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil

from ...ipc.errors import ConfigurationError
from ...ipc.paths import RUN_DIR_VARIABLE
from ...ipc.paths import run_dir as effective_run_dir
from .build import Settings, SourceText, build
from .host import Host, LocalAddress, Unresolved
from .model import DEFAULT_KEY_FILE, DEFAULT_STATE_DIR, LOOPBACK, Configuration

CONFIG_FILE_VARIABLE = "COROSYNC_MAIN_CONFIG_FILE"
"""Environment variable that names the configuration file when no option does."""

KEY_FILE_VARIABLE = "COROSYNC_TOTEM_AUTHKEY_FILE"
"""Environment variable that names the key file when `totem.keyfile` does not."""

STATE_DIRECTORY_VARIABLE = "STATE_DIRECTORY"
"""Environment variable in which systemd hands over state directories, separated by colons; the first counts."""

DEFAULT_CONFIG_FILE = Path("/etc/corosync/corosync.conf")
"""The configuration file when nothing names one."""

DROP_IN_DIRECTORY = "uidgid.d"
"""Beside the configuration file: files with `uidgid` sections."""

STATE_SUBDIRECTORY = "state"
"""Of the run directory: the state of a node that has a run directory of its own."""

FILE_BYTES_MAX = 4 * 1024 * 1024
"""Largest file that is read; the longest node list takes a tenth of it."""

BUILT_IN = f"totem {{\nversion: 2\n}}\nnodelist {{\nnode {{\nring0_addr: {LOOPBACK}\nnodeid: 1\n}}\n}}\n"
"""The configuration of a machine without a file: one node, alone, on loopback."""


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    run_dir: str | os.PathLike[str] | None = None,
    strict: bool = False,
    more: str = "",
    environ: Mapping[str, str] | None = None,
    host: Host | None = None,
) -> Configuration:
    """The configuration in *path*, else in `COROSYNC_MAIN_CONFIG_FILE`, else in /etc/corosync/corosync.conf.

    If only the last is left and there is no such file, it is that of a lone node on loopback, and says so in its
    notices.  Pass *run_dir* only if the user named one: it moves the state directory.  With *strict*, unknown names
    are problems.  *more* is text that is read as if it stood at the end of the main file.

    Raises:
        ConfigurationError: with every problem of every file.
    """
    variables = os.environ if environ is None else environ
    named = os.fspath(path) if path is not None else variables.get(CONFIG_FILE_VARIABLE, "")
    settings = Settings(
        authkey_file=os.path.abspath(variables.get(KEY_FILE_VARIABLE) or DEFAULT_KEY_FILE),
        state_dir=str(_default_state_dir(run_dir, variables)),
        strict=strict,
    )
    machine = Machine() if host is None else host
    file = Path(named) if named else DEFAULT_CONFIG_FILE
    try:
        main = _read(file)
    except OSError as error:
        if not named and isinstance(error, FileNotFoundError):
            return _without_file(file, settings, machine, more)
        raise ConfigurationError(_cannot_read(file, error)) from None
    return _with_drop_ins(replace(main, text=f"{main.text}\n{more}"), file, settings, machine)


def _with_drop_ins(main: SourceText, file: Path, settings: Settings, machine: Host) -> Configuration:
    drop_ins, unreadable = _read_drop_ins(file.parent / DROP_IN_DIRECTORY)
    try:
        configuration = build(main, drop_ins, settings, machine)
    except ConfigurationError as error:
        raise ConfigurationError(*unreadable, *error.problems) from None
    if unreadable:
        raise ConfigurationError(*unreadable)
    return configuration


def _default_state_dir(run_dir: str | os.PathLike[str] | None, variables: Mapping[str, str]) -> Path:
    own = effective_run_dir(run_dir, variables) / STATE_SUBDIRECTORY
    if run_dir is not None or variables.get(RUN_DIR_VARIABLE):
        return own
    if handed_over := variables.get(STATE_DIRECTORY_VARIABLE, "").partition(":")[0]:
        return Path(handed_over).absolute()
    return Path(DEFAULT_STATE_DIR) if os.geteuid() == 0 else own


def _without_file(file: Path, settings: Settings, machine: Host, more: str) -> Configuration:
    configuration = build(SourceText("(built in)", BUILT_IN + more), (), settings, machine)
    totem = configuration.totem
    notice = (
        f"there is no {file}: this node is alone, with defaults: node id {configuration.local_node_id}, "
        f"address {LOOPBACK}, UDP port {configuration.interfaces[0].port}, token {totem.token} ms, packets not "
        f"encrypted, state in {configuration.system.state_dir}; write {file}, or name another with -c or "
        f"{CONFIG_FILE_VARIABLE}"
    )
    return msgspec.structs.replace(configuration, sources=(), notices=(notice,))


def _read(file: Path) -> SourceText:
    with file.open("rb") as stream:
        raw = stream.read(FILE_BYTES_MAX + 1)
        mode = os.fstat(stream.fileno()).st_mode
    if len(raw) > FILE_BYTES_MAX:
        raise OSError(0, f"it has more than {FILE_BYTES_MAX} bytes")
    return SourceText(
        name=str(file),
        text=raw.decode("utf-8", "surrogateescape"),
        directory=str(file.absolute().parent),
        readable_by_others=bool(mode & (stat.S_IRGRP | stat.S_IROTH)),
    )


def _read_drop_ins(directory: Path) -> tuple[list[SourceText], list[str]]:
    """The regular, visible files of the directory by name, and what is wrong with those that cannot be read."""
    sources: list[SourceText] = []
    unreadable: list[str] = []
    try:
        files = sorted(file for file in directory.iterdir() if not file.name.startswith(".") and file.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    except OSError as error:
        return [], [_cannot_read(directory, error)]
    for file in files:
        try:
            sources.append(_read(file))
        except OSError as error:
            unreadable.append(_cannot_read(file, error))
    return sources, unreadable


def _cannot_read(file: Path, error: OSError) -> str:
    return f"{file}: Can't read file {file}: {error.strerror or error}"


class Machine:
    """The real `Host`.  Every name is looked up once; the answers are kept as long as the object."""

    def __init__(self) -> None:
        self._resolved: dict[tuple[str, int], str | Unresolved] = {}
        self._local: tuple[LocalAddress, ...] | None = None

    def host_name(self) -> str:
        """As `uname -n` prints it."""
        return os.uname().nodename

    def local_addresses(self) -> tuple[LocalAddress, ...]:
        """Addresses of all network interfaces, in the order of the system."""
        if self._local is None:
            self._local = tuple(
                _interface_address(entry.address, entry.netmask)
                for entries in psutil.net_if_addrs().values()
                for entry in entries
                if entry.family in {socket.AF_INET, socket.AF_INET6}
            )
        return self._local

    def reverse_name(self, address: str) -> str:
        """The name of a numeric address; empty if it has none."""
        try:
            return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
        except OSError:
            return ""

    def resolve(self, name: str, versions: tuple[int, ...]) -> str:
        """The numeric address of *name* in the first of the families that has one; raises `Unresolved`."""
        failure = Unresolved("no address family is asked for")
        for version in versions:
            if (name, version) not in self._resolved:
                self._resolved[name, version] = _look_up(name, version)
            answer = self._resolved[name, version]
            if isinstance(answer, str):
                return answer
            failure = answer
        raise failure

    def user_id(self, name: str) -> int | None:
        """The uid of a user name, if there is such a user."""

        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            return None

    def group_id(self, name: str) -> int | None:
        """The gid of a group name, if there is such a group."""

        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None


def _look_up(name: str, version: int) -> str | Unresolved:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        answers = socket.getaddrinfo(name, None, family, socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one, such as a label of 64 letters
        return Unresolved(error.strerror if isinstance(error, OSError) and error.strerror else str(error))
    return str(ipaddress.ip_address(str(answers[0][4][0])))


def _interface_address(address: str, netmask: str | None) -> LocalAddress:
    number = ipaddress.ip_address(address)
    prefix = int(ipaddress.ip_address(netmask)).bit_count() if netmask else number.max_prefixlen
    return ipaddress.ip_interface(f"{address}/{prefix}")
