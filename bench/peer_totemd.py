#!/usr/bin/env python3
"""totemd as one of the systems that a peer harness measures side by side (corosync, NATS and others).

    PEERS=DIR python bench/peer_totemd.py --nodes 3 --sizes 64,8000
    DIR/side_by_side.py --rounds 5 'DIR/baseline.py --parts core --only knet' \
        'python bench/peer_totemd.py --only aes256'

DIR is the harness's folder, with its `pbrun.py` and `pblib.py`; each node is a network namespace at MTU 1500 (as root).
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import totemd

sys.path.insert(0, os.environ.get("PEERS", "."))
try:
    import pblib
    import pbrun
except ImportError:
    raise SystemExit("PEERS must name the folder of the peer harness (pbrun.py, pblib.py)") from None

GROUP = "load"
CHUNK_BYTES = 256 * 1024
CHUNK_MESSAGES = 512
"""Sent before deliveries are looked at again."""

CONFIGURATIONS: dict[str, tuple[int, dict[str, str]]] = {
    "aes256": (1500, {"crypto_cipher": "aes256", "crypto_hash": "sha256"}),
    "plain": (1500, {"crypto_cipher": "none", "crypto_hash": "none"}),
    "aes256, mtu 9000": (9000, {"crypto_cipher": "aes256", "crypto_hash": "sha256", "netmtu": "8900"}),
}
"""Name -> (MTU of the network, options of the totem section)."""

START_SECONDS = 30.0


# -- in a member process


def member() -> None:
    options = pbrun.member_args().parse_args(sys.argv[2:])
    tally = pbrun.Tally(options.senders, options.node)
    with totemd.Client() as client, client.join(GROUP) as group:
        while len(group.members) < options.nodes:
            group.receive(timeout=START_SECONDS)
        pbrun.ready_go(options.limit)
        if options.send and options.mode == "flood":
            flood(group, tally, options)
        elif options.send:
            ping(group, tally, options)
        if options.send:
            group.mcast(pbrun.payload(pbrun.HEAD.size, pbrun.FIN, options.node, tally.sent))
        while not tally.done:
            take(group, tally, START_SECONDS)
        tally.report(node=options.node, sender=int(options.send))
        group.leave()


def flood(group: totemd.Group, tally: Any, options: Any) -> None:
    """As much as goes in so many seconds."""
    chunk = max(1, min(CHUNK_MESSAGES, CHUNK_BYTES // options.size))
    end = time.monotonic() + options.secs
    while time.monotonic() < end:
        group.mcast_many(numbered(tally, options, chunk))
        take(group, tally, 0.0)


def numbered(tally: Any, options: Any, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield pbrun.payload(options.size, pbrun.DATA, options.node, tally.sent)
        tally.sent += 1


def ping(group: totemd.Group, tally: Any, options: Any) -> None:
    """One message outstanding."""
    warm = options.count // 20 + 10
    for number in range(options.count + warm):
        if number == warm:
            del tally.lat[:]
        group.mcast(pbrun.payload(options.size, pbrun.DATA, options.node, number))
        tally.sent += 1
        while tally.own <= number:
            take(group, tally, START_SECONDS)


def take(group: totemd.Group, tally: Any, timeout: float) -> None:
    """What is there; waits for the first of it."""
    receive, note, message = group.receive, tally.note, totemd.Message
    try:
        while not tally.done:
            event = receive(timeout)
            timeout = 0.0
            if isinstance(event, message):
                note(event.payload)
    except TimeoutError:
        pass


# -- in the parent


class Totemd(pbrun.MemberAdapter):  # type: ignore[misc]
    """Three or more nodes with one configuration."""

    system = "totemd"
    script = os.path.abspath(__file__)

    def __init__(self, config: str) -> None:
        self.config = config
        self.mtu, self.totem = CONFIGURATIONS[config]
        self.nodes = pblib.Nodes()

    def versions(self) -> dict[str, str]:
        return {"python": sys.version.split()[0]}

    def up(self, n: int) -> None:
        self.nodes.up(n, mtu=self.mtu)
        key = secrets.token_bytes(128)
        for node in self.nodes.ids():
            folder = Path(self.nodes.node_dir(node)) / "etc"
            (folder / "authkey").write_bytes(key)
            (folder / "authkey").chmod(0o400)
            (folder / "corosync.conf").write_text(self.configuration(n, node))
            log = os.path.join(self.nodes.node_dir(node), "log")
            self.nodes.daemon(node, "totemd", [sys.executable, "-m", "totemd.executive", "-f"], log)
        end = time.monotonic() + START_SECONDS
        while not all(self.formed(node, n) for node in self.nodes.ids()):
            if time.monotonic() > end:
                raise RuntimeError("the nodes did not form a ring")
            time.sleep(0.2)

    def configuration(self, count: int, node: int) -> str:
        totem = {"version": "2", "cluster_name": "peers", "nodeid": str(node), "transport": "udpu", **self.totem}
        lines = ["totem {", *(f"  {key}: {value}" for key, value in totem.items()), "}", "nodelist {"]
        for other in range(1, count + 1):
            lines += ["  node {", f"    ring0_addr: {self.nodes.addr(other)}", f"    nodeid: {other}", "  }"]
        return "\n".join([*lines, "}", "logging {", "  to_syslog: no", "  to_stderr: yes", "}", ""])

    def formed(self, node: int, count: int) -> bool:
        command = [*self.nodes.enter(node), sys.executable, "-m", "totemd.executive.control", "--json", "members"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_SECONDS)
        return answer.returncode == 0 and answer.stdout.count('"node_id"') >= count

    def pids(self) -> list[int]:
        parents = [self.nodes.proc(node, "totemd")[0] for node in self.nodes.ids()]
        return parents + [child for parent in parents for child in children(parent)]


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def main() -> None:
    if sys.argv[1:2] == ["member"]:
        member()
        return
    pblib.require("ip", "nft", "unshare", "nsenter")
    options = pbrun.arguments(__doc__).parse_args()
    with pblib.flock("net-" + pblib.PREFIX):
        pbrun.run_main([Totemd(config) for config in CONFIGURATIONS], options)


if __name__ == "__main__":
    main()
