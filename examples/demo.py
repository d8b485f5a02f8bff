"""What totemd does, in less than a minute: `make demo`.

Three nodes on this machine, each with its own processes and its own address on the loopback network. Every step
checks what it shows; the first one that fails ends the demonstration with exit code 1.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import totemd
from rich.console import Console
from rich.panel import Panel
from rich.text import Text
from totemd.testing import Cluster, Node, wait_until

GROUP = "demo"
PATIENCE_SECONDS = 30.0
APPLICATION = Path(__file__).with_name("sam_app.py")

screen = Console(highlight=False)


def title(number: int, text: str) -> None:
    screen.print(Panel(Text(text, style="bold"), title=f"{number}", title_align="left", border_style="cyan"))


def show(node: Node, *command: str) -> None:
    """Run totemctl on a node and print what it prints."""
    screen.print(f"[dim]node {node.node_id} $ totemctl {' '.join(command)}[/dim]")
    done = node.control(*command)
    if done.returncode != 0:
        raise SystemExit(f"totemctl {' '.join(command)}: exit code {done.returncode}: {done.stderr}")
    screen.print(Text(done.stdout.rstrip()))


def next_message(group: totemd.Group) -> str:
    """The next message, as `node N: text`."""
    while True:
        event = group.receive(timeout=PATIENCE_SECONDS)
        if isinstance(event, totemd.Message):
            return f"node {event.sender.node_id}: {bytes(event.payload).decode()}"


def next_change(group: totemd.Group, reason: totemd.Reason) -> totemd.ConfigChange:
    """The next membership change in which somebody came or went for this reason."""
    while True:
        event = group.receive(timeout=PATIENCE_SECONDS)
        if isinstance(event, totemd.ConfigChange) and any(
            member.reason is reason for member in (*event.joined, *event.left)
        ):
            return event


def forming(cluster: Cluster) -> None:
    title(1, "Three nodes, three configuration files, one ring")
    screen.print(Text(cluster[1].configuration_path.read_text().rstrip(), style="dim"))
    began = time.monotonic()
    cluster.start()
    screen.print(f"one ring of three after [bold]{time.monotonic() - began:.1f} s[/bold], processes included\n")
    show(cluster[1], "members")
    show(cluster[1], "status")


def exchange(groups: dict[int, totemd.Group], cluster: Cluster) -> None:
    title(2, "A program on each node; everybody speaks at once, everybody hears the same")
    cipher = cluster[1].status().cipher
    if cipher == "none":
        raise SystemExit("the ring is not encrypted")
    for number in range(3):
        for node_id, group in groups.items():
            group.mcast(f"line {number} of node {node_id}".encode())
    heard = {node_id: [next_message(group) for _ in range(9)] for node_id, group in groups.items()}
    for line in heard[1]:
        screen.print(f"  {line}")
    if not heard[1] == heard[2] == heard[3]:
        raise SystemExit(f"not the same order: {heard}")
    screen.print(f"nine messages, the same order on all three nodes, encrypted with [bold]{cipher}[/bold]\n")


def death(groups: dict[int, totemd.Group], cluster: Cluster) -> None:
    title(3, "Node 3 is killed: every process of it, with SIGKILL")
    status = cluster[1].status()
    began = time.monotonic()
    cluster[3].kill()
    change = next_change(groups[1], totemd.Reason.NODE_DOWN)
    took = time.monotonic() - began
    screen.print(
        f"node 1 was told after [bold]{took:.1f} s[/bold] (token {status.token_ms} ms + consensus"
        f" {status.consensus_ms} ms): left {describe(change.left)}, still here {describe(change.members)}"
    )
    cluster.wait_for_ring({1, 2})
    show(cluster[1], "members")


def return_(groups: dict[int, totemd.Group], cluster: Cluster) -> None:
    title(4, "Node 3 comes back; the program on it was there all the time")
    cluster[3].start()
    cluster.wait_for_ring({1, 2, 3})
    while not isinstance(groups[3].receive(timeout=PATIENCE_SECONDS), totemd.Rejoined):
        pass
    screen.print("the program on node 3 is told that it was away, and is a member again")
    wait_until(lambda: len(groups[3].members) == 3 or drain(groups[3]), PATIENCE_SECONDS, "three members again")
    groups[3].mcast(b"back again")
    screen.print(f"node 1 hears   {next_message(groups[1])}")
    show(cluster[1], "groups")


def drain(group: totemd.Group) -> bool:
    """Take one event if there is one, so that `group.members` moves on."""
    with suppress(TimeoutError):
        group.receive(timeout=0.1)
    return False


def describe(members: tuple[totemd.Member, ...]) -> str:
    return ", ".join(
        f"node {member.node_id}" + (f" ({member.reason.name})" if member.reason else "") for member in members
    )


def restart(cluster: Cluster) -> None:
    title(5, "sam-run keeps an application running")
    node = cluster[1]
    command = [sys.executable, "-m", "totemd.sam.run", "--run-dir", str(node.run_dir), "--name", "worker", "--"]
    command += [sys.executable, str(APPLICATION), "--fail-after", "3600"]
    screen.print("[dim]node 1 $ sam-run --name worker -- python examples/sam_app.py[/dim]")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sam_run:
        assert sam_run.stdout is not None
        try:
            first = sam_run.stdout.readline().rstrip()
            screen.print(first)
            victim = int(first.rsplit(" ", 1)[1])
            screen.print(f"[dim]$ kill -9 {victim}[/dim]")
            began = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            screen.print(sam_run.stdout.readline().rstrip())
            screen.print(f"started again after [bold]{1000 * (time.monotonic() - began):.0f} ms[/bold]")
            show(node, "apps")
        finally:
            sam_run.terminate()
    if sam_run.returncode != 0:
        raise SystemExit(f"sam-run ended with {sam_run.returncode}")


def ending(cluster: Cluster) -> None:
    title(6, "The end: nodes leave, nothing stays")
    cluster.stop()
    codes = [node.exit_code for node in cluster]
    left = cluster.leftovers()
    if any(codes) or left:
        raise SystemExit(f"exit codes {codes}, left behind: {left}")
    screen.print("three nodes have left with exit code 0; no process and no socket is left")


def main() -> None:
    began = time.monotonic()
    with Cluster(3, token=1000, start=False) as cluster:
        forming(cluster)
        with ExitStack() as programs:
            groups = {
                node.node_id: programs.enter_context(programs.enter_context(node.client()).join(GROUP))
                for node in cluster
            }
            exchange(groups, cluster)
            death(groups, cluster)
            return_(groups, cluster)
        restart(cluster)
        ending(cluster)
    if cluster.directory.exists():
        raise SystemExit(f"{cluster.directory} is still there")
    screen.print(f"\n[bold green]all steps done[/bold green] in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
