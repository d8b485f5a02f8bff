"""The benchmarks at the smallest scale: they start, measure, compare, save, show, and leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

BENCH = Path(__file__).resolve().parents[2] / "bench"
TINY = "--nodes 2 --seconds 0.2 --pings 20 --rest 0.1 --patience 0 --network loopback".split()  # noqa: SIM905
SECONDS = 120


def bench(script: str, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run one of the scripts."""
    environment = {name: value for name, value in os.environ.items() if name != "PEERS"}
    done = subprocess.run(
        [sys.executable, str(BENCH / script), *options],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environment,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def test_rounds_are_added_to_a_file_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    options = [*TINY, "--sizes", "64,8000", "--every", "64", "--json", str(path)]
    first = bench("canonical.py", *options)
    assert "| one sender, 8 kB, MB/s |" in first.stdout
    assert "| a sender on every node, 64 B, messages/s |" in first.stdout
    assert "loopback address of its own" in first.stderr
    bench("canonical.py", *options, "--add", "--no-latency")
    saved = json.loads(path.read_text())
    assert saved["failures"] == []
    assert len(saved["commands"]) == 2
    assert {(each["round"], each["what"]) for each in saved["samples"]} == {
        *((1, what) for what in ("at rest", "one sender", "a sender on every node", "latency", "connect and join")),
        *((2, what) for what in ("at rest", "one sender", "a sender on every node")),
        *((number, "after load") for number in (1, 2)),
    }
    flood = next(each for each in saved["samples"] if each["what"] == "one sender")
    for key in ("messages_per_second", "server_cpu_seconds_per_mb", "member_cpu_seconds_per_100k", "foreign_share"):
        assert flood[key] >= 0
    latency = next(each for each in saved["samples"] if each["what"] == "latency")
    assert 0 < latency["near_p50_us"] <= latency["near_p99_us"]
    shown = bench("canonical.py", "--show", str(path))
    assert "| one sender, 8 kB, MB/s |" in shown.stdout
    # The medians of two rounds come with their extremes.
    assert "–" in next(line for line in shown.stdout.splitlines() if "8 kB, MB/s" in line)
    assert not [each.pid for each in psutil.Process().children(recursive=True) if "member.py" in str(each.cmdline())]


def test_peers_need_namespaces(tmp_path: Path) -> None:
    done = bench("canonical.py", *TINY, "--peers", str(tmp_path), code=1)
    assert "network namespaces" in done.stderr


def test_loss_is_measured(tmp_path: Path) -> None:
    options = ["--nodes", "2", "--sizes", "64", "--rounds", "1", "--seconds", "0.2", "--loss", "1", "--no-latency"]
    done = bench("loss.py", *options, "--json", str(tmp_path / "loss.json"))
    assert set(json.loads(done.stdout)["shares"]) == {"64 B"}


def test_the_recorders_price_is_measured() -> None:
    tiny = ("--nodes", "1", "--sizes", "64", "--rounds", "1", "--seconds", "0.2")
    report = json.loads(bench("recorder.py", *tiny).stdout)
    assert report["pairs"]["64"]["median_ratio"] > 0


def test_the_core_alone_is_timed() -> None:
    assert set(json.loads(bench("recorder.py", "--profile", "--core-rounds", "5").stdout)) == {"plain", "recorded"}


def test_the_hops_of_a_message_are_timed() -> None:
    lines = bench("hops.py", "--loopback", "--nodes", "2", "--pings", "20").stdout.splitlines()
    hops = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")]
    assert hops.count("in all") == 2
    assert {"client to cpg", "of that: waiting for the token", "wire", "open, order, deliver"} <= set(hops)
