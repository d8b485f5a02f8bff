"""What a campaign's fingerprint is of: all that a run executes, and nothing that it does not."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest
from simcluster.cluster import Cluster
from simcluster.options import derive
from simcluster.sources import closure, fingerprint

SEEN = (("mixed", 1), ("mixed", 2), ("groups", 1), ("groups", 4), ("sealed", 1), ("disk", 1))
"""Profiles and seeds with packets, bytes, datagrams; services and clients; every kind of fault."""

CONTENT = {
    "__init__.py": "from .client import Client\n",
    "client.py": "class Client: ...\n",
    "core/__init__.py": "from .ring import Ring\nfrom . import table\nHERE = 1\n",
    "core/ring.py": "from ..ids import Id\nclass Ring: ...\n",
    "core/table.py": "",
    "core/rare.py": "",
    "core/unused.py": "",
    "ids.py": "def later():\n    from .core import rare\n",
    "tests/sim/run.py": "from simcluster.cli import main\n",
    "tests/sim/simcluster/cli.py": "import json\nfrom totemd.core import Ring\n",
}


def write(root: Path, **changes: str) -> Path:
    """A small package with a simulator."""
    for name, content in {**CONTENT, **changes}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in closure(root).values()}


def test_imports_are_followed_through_packages_and_functions(tmp_path: Path) -> None:
    simulator = {"tests/sim/run.py", "tests/sim/simcluster/cli.py"}
    assert files(write(tmp_path)) == {*simulator, "core/ring.py", "ids.py", "core/rare.py"}


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ("import totemd.core.unused", {"core/unused.py"}),
        ("from totemd.core.unused import anything", {"core/unused.py"}),
        ("from totemd import ids", set()),
        ("from totemd import Client", {"client.py"}),
        ("from totemd.core import HERE", {"core/__init__.py", "core/table.py"}),
        ("import totemd", {"__init__.py", "client.py"}),
    ],
)
def test_each_way_to_import(words: str, more: set[str], tmp_path: Path) -> None:
    before = files(write(tmp_path))
    assert files(write(tmp_path, **{"tests/sim/simcluster/cli.py": f"{words}\nfrom totemd.core import Ring\n"})) == {
        *before,
        *more,
    }


def test_the_fingerprint_changes_with_what_a_run_depends_on_only(tmp_path: Path) -> None:
    before = fingerprint(write(tmp_path))
    for name, content in CONTENT.items():
        changed = fingerprint(write(tmp_path, **{name: f"{content}# more\n"}))
        assert (changed != before) is (name in files(tmp_path)), name
    write(tmp_path)
    (tmp_path / "tests/sim/simcluster/new.py").touch()
    assert fingerprint(tmp_path) != before


def test_the_rings_and_the_services_sources_are_in_it_and_others_are_not() -> None:
    found = set(closure())
    assert {"totemd.executive.totem.core.ring", "totemd.services.cpg.engine", "totemd.ipc.messages.cpg"} <= found
    assert {"simcluster.cluster", "simcluster.campaign", "__main__"} <= found
    others = (
        "totemd.services.replica",
        "totemd.services.quorum",
        "totemd.services.cpg.client",
        "totemd.sam",
        "totemd.testing",
    )
    assert not [module for module in found if module.startswith(others)]
    assert not {"totemd", "totemd.executive.totem.process", "totemd.executive.config.load"} & found


def test_a_run_executes_nothing_else() -> None:
    executed: set[str] = set()

    def called(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            executed.add(frame.f_globals.get("__name__", ""))

    for profile, seed in SEEN:
        sys.setprofile(called)
        try:
            outcome = Cluster(derive(seed, profile)).run()
        finally:
            sys.setprofile(None)
        assert not outcome.violations
    ours = {module for module in executed if module.startswith("totemd.")}
    assert {"totemd.executive.totem.core.ring", "totemd.services.cpg.engine"} <= ours
    assert ours <= set(closure())
