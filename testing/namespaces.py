"""A network of their own for the nodes of a cluster: a namespace for each, and one more with the bridge between them.

Nothing of it is seen on the machine but the names of the namespaces, `totemd-nodes-PID-SERIAL-…`, PID being that of the
program.  A keeper process removes them when the program ends, however it ends; should the keeper be killed too, the
next program does it (`remove_leftovers`).  Needs root.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import psutil

PREFIX = "totemd-nodes-"
"""Of the names of all namespaces of all programs."""

NAMED = Path("/run/netns")
"""Where `ip netns` keeps its names."""

NETWORK = "10.97.0"
"""Node n is `10.97.0.n`; every program has its own, since the machine is on none of them."""

NODES_MAX = 32
"""More would need more than this machine's memory long before they need more addresses."""

TOOLS = {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "unshare": "util-linux"}
"""Program -> Debian's package."""

MTU = 1500
"""Ethernet's."""

COMMAND_SECONDS = 30.0
"""How long one of the tools may take on a busy machine."""

_PROBE = """
set -e
ip link add name bridge0 type bridge
ip link add left type veth peer name right
nft add table inet probe
nft add chain inet probe in '{ type filter hook input priority 0; }'
nft add rule inet probe in meta l4proto udp numgen random mod 10000 '<' 1 counter drop
"""

_KEEPER = """
import subprocess, sys
for name in sys.stdin.read().split():
    subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
"""

_serials = itertools.count(1)


@functools.cache
def obstacle() -> str:
    """Why there can be no such network here, in words for the reader of a skipped test; empty if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = sorted({TOOLS[tool] for tool in missing})
        return f"network namespaces need {', '.join(missing)}; Debian: apt-get install {' '.join(packages)}"
    probe = subprocess.run(["unshare", "--net", "sh", "-c", _PROBE], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        return f"network namespaces need veth, bridges and nftables of the kernel: {probe.stderr.strip()}"
    return ""


def run(*command: str, stdin: str | None = None) -> str:
    """Run one of the tools; returns what it prints."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def leftovers() -> list[str]:
    """Namespaces of programs that are no more."""
    return sorted(path.name for path in NAMED.glob(f"{PREFIX}*") if not _owner_lives(path))


def remove_leftovers() -> list[str]:
    """Remove what programs that crashed, keeper and all, have left behind; returns the names."""
    found = leftovers()
    for name in found:
        with contextlib.suppress(OSError):
            for pid in run("ip", "netns", "pids", name).split():
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            run("ip", "netns", "del", name)
    return found


def _owner_lives(path: Path) -> bool:
    """Whether the process that the name speaks of runs, and is old enough to have made the namespace."""
    owner = path.name.removeprefix(PREFIX).partition("-")[0]
    try:
        return psutil.Process(int(owner)).create_time() <= path.stat().st_ctime
    except (psutil.NoSuchProcess, ValueError, FileNotFoundError):
        return False


class Namespaces:
    """`with Namespaces(3) as network:`; nodes 1 to 3 hear each other over a bridge, and nobody else.

    *mtu* is that of all interfaces.  *one_by_one*: datagrams that a node hands over as one buffer are cut before they
    leave it, so that a packet filter judges each by itself, as a wire would lose them; that costs throughput.
    """

    def __init__(self, nodes: int, *, mtu: int = MTU, one_by_one: bool = False) -> None:
        if not 1 <= nodes <= NODES_MAX:
            raise ValueError(f"a network has 1 to {NODES_MAX} nodes, not {nodes}")
        self._mtu = mtu
        self._one_by_one = one_by_one
        self.prefix = f"{PREFIX}{os.getpid()}-{next(_serials)}"
        self.addresses = {node: f"{NETWORK}.{node}" for node in range(1, nodes + 1)}
        self._hub = f"{self.prefix}-hub"
        self._keeper: subprocess.Popen[str] | None = None

    @property
    def names(self) -> list[str]:
        """All namespaces of this network."""
        return [self._hub, *map(self.name, self.addresses)]

    def name(self, node: int) -> str:
        """The namespace of a node."""
        return f"{self.prefix}-{node}"

    def launcher(self, node: int) -> list[str]:
        """The words before a command that make it run on this node; the process stays the same."""
        return ["nsenter", f"--net={NAMED / self.name(node)}"]

    def __enter__(self) -> Namespaces:
        # A session of its own: Ctrl-C is for the run, and the keeper works when that has ended.
        command = [sys.executable, "-I", "-S", "-c", _KEEPER]
        self._keeper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd="/", text=True)
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(" ".join(self.names))
        self._keeper.stdin.flush()
        with contextlib.ExitStack() as building:
            building.callback(self.close)
            self._make()
            building.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the network.  May be called again."""
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None

    def nft(self, node: int, rules: str) -> None:
        """Have a node's packet filter carry out these commands."""
        run("ip", "netns", "exec", self.name(node), "nft", "-f", "-", stdin=rules)

    def listing(self, node: int) -> str:
        """A node's packet filter with its counters."""
        return run("ip", "netns", "exec", self.name(node), "nft", "list", "ruleset")

    def delay(self, node: int, milliseconds: float) -> None:
        """Delay everything that a node sends, by this and up to half as much again; 0: no longer.

        Raises:
            OSError: this kernel has no netem.
        """
        inside = ("ip", "netns", "exec", self.name(node), "tc", "qdisc")
        if milliseconds:
            netem = ("netem", "delay", f"{milliseconds:g}ms", f"{milliseconds / 2:g}ms")
            run(*inside, "replace", "dev", "eth0", "root", *netem)
        else:
            with contextlib.suppress(OSError):  # there was none
                run(*inside, "del", "dev", "eth0", "root")

    def can_delay(self) -> bool:
        """Whether `delay` works on this machine."""
        node = next(iter(self.addresses))
        try:
            self.delay(node, 1)
        except OSError:
            return False
        self.delay(node, 0)
        return True

    def _make(self) -> None:
        run("ip", "netns", "add", self._hub)
        hub = ["link add name bridge0 type bridge", f"link set bridge0 mtu {self._mtu} up"]
        for node in self.addresses:
            run("ip", "netns", "add", self.name(node))
            hub += [
                f"link add name port{node} mtu {self._mtu} type veth"
                f" peer name eth0 mtu {self._mtu} netns {self.name(node)}",
                f"link set port{node} master bridge0 up",
            ]
        run("ip", "-n", self._hub, "-batch", "-", stdin="\n".join(hub) + "\n")
        for node, address in self.addresses.items():
            inside = [
                "link set lo up",
                *(["link set eth0 gso_max_segs 1"] if self._one_by_one else []),
                f"addr add {address}/24 dev eth0",
                "link set eth0 up",
            ]
            run("ip", "-n", self.name(node), "-batch", "-", stdin="\n".join(inside) + "\n")
