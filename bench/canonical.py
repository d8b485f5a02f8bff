#!/usr/bin/env python3
"""The canonical benchmark: throughput, latency, and their price; alone, or beside corosync in the same run.

    bench/canonical.py --quick                          a cluster of three, a minute, no root (`make bench`)
    bench/canonical.py --peers DIR --rounds 5           everything, paired round by round with corosync (root)
    bench/canonical.py --show FILE                      tables (and plot) of a run that was saved

As root every node has a network namespace of its own, MTU 1500, else a loopback address of its own.  DIR is the folder
of a peer harness (docs/performance.md, which also says how a figure comes about).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchkit.account import machine, wait_until_quiet
from benchkit.members import BenchError
from benchkit.peers import CONFIGURATIONS, JUMBO, Corosync, Harness
from benchkit.plot import MISSING, draw
from benchkit.report import Measured, Run, number, tables
from benchkit.systems import Effort, System, Totemd
from benchkit.workload import CLUSTERS, QUICK_CLUSTER, QUICK_SIZES, SIZES, cells, size_name
from totemd.testing import Value
from totemd.testing.namespaces import MTU, obstacle, remove_leftovers

FULL = Effort()
QUICK = Effort(seconds=1.0, pings=300, rest_seconds=1.0)
JUMBO_MTU = 9_000
PATIENCE_SECONDS = 6.0
"""How long a sample waits for a quiet machine before it is taken anyway."""

SHOWN = ("messages_per_second", "megabytes_per_second", "near_p50_us", "near_p99_us", "join_ms", "rss_mib_per_node")
"""What is said of a sample while it goes on."""


def main() -> None:
    """Measure, save, show."""
    chosen = arguments().parse_args()
    run = Run.load(chosen.show) if chosen.show else Run()
    if chosen.json and chosen.add and chosen.json.exists():
        run = Run.load(chosen.json)
    if not chosen.show:
        run.about.setdefault("machine", machine())
        run.about.setdefault("commits", []).append(commit())
        run.about.setdefault("commands", []).append(shlex.join(sys.argv))
        with contextlib.ExitStack() as stack:
            systems = choose_systems(chosen, stack)
            first = run.rounds + 1
            for number_ in range(first, first + chosen.rounds):
                measure_round(run, number_, systems, chosen)
    publish(run, chosen)


def choose_systems(chosen: argparse.Namespace, stack: contextlib.ExitStack) -> list[System]:
    """What is measured, ours first."""
    namespaces = chosen.network != "loopback" and not obstacle()
    if not namespaces and (chosen.network == "namespaces" or chosen.peers):
        raise SystemExit(obstacle() or "peers are measured in network namespaces only")
    if namespaces:
        remove_leftovers()
    say("each node has " + ("a network namespace" if namespaces else "a loopback address") + " of its own")
    mtu = JUMBO_MTU if chosen.jumbo else MTU
    options: dict[str, Value] = dict(each.split("=", 1) for each in chosen.set)
    ciphers = [chosen.cipher, *(["none"] if chosen.plain and chosen.cipher != "none" else [])]
    systems: list[System] = [Totemd(cipher, namespaces=namespaces, mtu=mtu, options=options) for cipher in ciphers]
    if chosen.peers:
        harness = Harness(chosen.peers)
        stack.enter_context(harness.claimed())
        configurations = JUMBO if chosen.jumbo else CONFIGURATIONS
        systems += [Corosync(harness, name, options) for name, options in configurations.items()]
    return [system for system in systems if chosen.only in system.name]


def measure_round(run: Run, number_: int, systems: list[System], chosen: argparse.Namespace) -> None:
    """Every cell of every system once; each round in the other order than the one before."""
    for nodes in chosen.nodes:
        for system in systems if number_ % 2 else reversed(systems):
            say(f"round {number_}: {system.name}, {nodes} nodes")
            try:
                system.up(nodes)
                measure_system(run, number_, system, nodes, chosen)
            except (BenchError, OSError, RuntimeError) as error:
                fail(run, f"round {number_}: {system.name}, {nodes} nodes: {error}")
            finally:
                system.down()
            if chosen.json:
                run.save(chosen.json)


def measure_system(run: Run, number_: int, system: System, nodes: int, chosen: argparse.Namespace) -> None:
    """Every cell once."""
    effort = Effort(chosen.seconds, chosen.pings, chosen.rest)
    for cell in cells(nodes, chosen.sizes, chosen.every, latency=chosen.latency):
        wait_until_quiet(chosen.patience)
        try:
            sample = system.measure(cell, effort)
        except BenchError as error:
            fail(run, f"round {number_}: {system.name}, {nodes} nodes, {cell}: {error}")
            if isinstance(system, Totemd):
                raise  # its members stay for all cells, and one of them is behind or gone
            continue
        run.measured.append(Measured(number_, system.name, nodes, cell, sample))
        say(f"  {cell}: " + ", ".join(f"{key} {number(sample[key])}" for key in SHOWN if key in sample))


def publish(run: Run, chosen: argparse.Namespace) -> None:
    """Tables on standard output, and the files that were asked for."""
    if chosen.json:
        run.save(chosen.json)
    if run.measured:
        print(tables(run, run.systems[0]))
    nodes = QUICK_CLUSTER if QUICK_CLUSTER in run.clusters else max(run.clusters, default=0)
    if chosen.plot and nodes and not draw(run, nodes, chosen.plot):
        say(MISSING)
    if not run.measured or run.failures:
        raise SystemExit(f"{len(run.failures)} measurements gave no figure")


def commit() -> str:
    """Of these sources, with a star if they were changed since; empty outside a repository."""
    folder = Path(__file__).resolve().parent
    words = ["git", "-C", str(folder), "describe", "--always", "--abbrev=7", "--dirty=*", "--exclude=*"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def fail(run: Run, words: str) -> None:
    """No figure, and why."""
    run.failures.append(words)
    say(words)


def say(line: str) -> None:
    """To the user, beside the tables."""
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


def integers(text: str) -> list[int]:
    """`1,2,3`"""
    return [int(each) for each in text.split(",") if each]


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add: Any = parser.add_argument
    add("--quick", action=Quick, help="a minute: three nodes, four sizes, short floods")
    add("--peers", type=Path, metavar="DIR", default=os.environ.get("PEERS"), help="measure corosync too (env PEERS)")
    add("--rounds", type=int, default=1, help="how often everything is measured; medians count")
    add("--nodes", type=integers, default=list(CLUSTERS), metavar="N,…", help="sizes of clusters")
    names = ", ".join(size_name(size) for size in SIZES)
    add("--sizes", type=integers, default=list(SIZES), metavar="BYTES,…", help=f"floods of one sender ({names})")
    add("--every", type=integers, default=list(SIZES), metavar="BYTES,…", help="floods of a sender on every node")
    add("--no-latency", dest="latency", action="store_false", help="neither latency nor connecting")
    add("--seconds", type=float, default=FULL.seconds, help="of a flood")
    add("--pings", type=int, default=FULL.pings, help="messages of a latency run")
    add("--rest", type=float, default=FULL.rest_seconds, help="seconds that a cluster at rest is watched")
    add("--patience", type=float, default=PATIENCE_SECONDS, help="seconds a sample waits for a quiet machine")
    add("--cipher", default="aes256", help="crypto_cipher; none: plain")
    add("--plain", action="store_true", help="measure without encryption too")
    add("--jumbo", action="store_true", help=f"at MTU {JUMBO_MTU} (namespaces)")
    add("--network", choices=("auto", "namespaces", "loopback"), default="auto")
    add("--set", action="append", default=[], metavar="PATH=VALUE", help="an option of totemd: totem.token=1000")
    add("--only", default="", metavar="TEXT", help="only systems whose name contains TEXT")
    add("--json", type=Path, metavar="FILE", help="save all samples")
    add("--add", action="store_true", help="the file has rounds already; go on with the next")
    add("--plot", type=Path, action="append", default=[], metavar="FILE", help="draw to .svg or .png (matplotlib)")
    add("--show", type=Path, metavar="FILE", help="measure nothing; tables and plot of a saved run")
    return parser


class Quick(argparse.Action):
    """`--quick`; options after it change parts of it."""

    def __init__(self, option_strings: list[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=False, help=more.get("help"))

    def __call__(self, parser: Any, namespace: argparse.Namespace, *_: Any) -> None:
        namespace.patience = 1.0
        namespace.seconds, namespace.pings, namespace.rest = QUICK.seconds, QUICK.pings, QUICK.rest_seconds
        namespace.nodes, namespace.sizes, namespace.every = [QUICK_CLUSTER], list(QUICK_SIZES), [1_600]


if __name__ == "__main__":
    main()
