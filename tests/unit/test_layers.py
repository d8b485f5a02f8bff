"""Who may import whom.  LAYERS is the whole rule; the rest of this module reads the sources and applies it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE_FOLDERS = ("executive", "ipc", "sam", "services", "testing")

VOCABULARY = ("ipc.ids", "ipc.errors", "ipc.strict")
"""What every layer may speak about."""

WORLD = frozenset(
    {
        *(
            "asyncio",
            "ctypes",
            "fcntl",
            "io",
            "logging",
            "mmap",
            "os",
            "pathlib",
            "psutil",
            "pwd",
            "random",
            "resource",
        ),
        *("secrets", "select", "selectors", "shutil", "signal", "socket", "structlog", "subprocess", "sys", "tempfile"),
        *("termios", "time", "zmq"),
    }
)
"""Libraries through which a module touches the world: clock, chance, files, network, logs."""

NOWHERE = frozenset({"threading", "_thread", "concurrent", "multiprocessing", "totemd"})
"""Threads and forked loops are not used at all; inside the package imports are relative."""


class Layer(NamedTuple):
    """One row: modules that start with `name` may import `may` of totemd, and none of the libraries `never`."""

    name: str
    may: tuple[str, ...]
    never: frozenset[str] = frozenset()


# The row with the longest matching name decides.  A layer may always import itself.
LAYERS = (
    Layer("ipc", ()),
    Layer("ipc.ids", VOCABULARY, WORLD),
    Layer("ipc.errors", (), WORLD),
    Layer("ipc.strict", VOCABULARY, WORLD),
    Layer("ipc.codec", VOCABULARY, WORLD),
    Layer("ipc.channel", (*VOCABULARY, "ipc.codec", "ipc.messages"), WORLD),
    Layer("ipc.messages", VOCABULARY, WORLD),
    # The options of declared applications are those of sam-run.
    Layer("executive.config", (*VOCABULARY, "ipc.paths", "sam.section"), WORLD),
    Layer("executive.config.load", (*VOCABULARY, "ipc.paths", "executive.config")),
    Layer("executive.keygen", (*VOCABULARY, "executive.config.model", "executive.runtime.files")),
    Layer("executive.runtime", ("ipc", "executive.config.model")),
    Layer("executive.totem.wire", VOCABULARY, WORLD),
    Layer("executive.totem.core", (*VOCABULARY, "ipc.messages.stream", "executive.totem.wire"), WORLD),
    Layer(
        "executive.totem.links", (*VOCABULARY, "executive.runtime", "executive.config.model", "executive.totem.wire")
    ),
    Layer(
        "executive.totem",
        ("ipc", "executive.runtime", "executive.config.model", "executive.totem"),
    ),
    *(
        Layer(
            f"executive.totem.recorder.{name}",
            (*VOCABULARY, "ipc.messages.stream", *(f"executive.totem.{part}" for part in ("core", "wire", "recorder"))),
            WORLD - {"mmap"},
        )
        for name in ("blanks", "checkpoint", "digest", "format", "replay", "ring", "story", "tape")
    ),
    Layer("executive.supervisor", ("ipc", "executive.runtime", "executive.config", "executive.keygen")),
    # It names signals, it sends none.
    Layer("executive.supervisor.plan", (*VOCABULARY, "executive.supervisor"), WORLD - {"signal"}),
    Layer("executive.control", ("ipc", "executive.runtime", "executive.config", "executive.keygen")),
    # It replays what the totem process has recorded; nothing else of the command line knows the ring.
    Layer("executive.control.blackbox", ("ipc", "executive.runtime", "executive.control", "executive.totem.recorder")),
    Layer(
        "executive.__main__",
        ("ipc", "executive.runtime", "executive.config", "executive.keygen", "executive.supervisor"),
    ),
    Layer("services.envelope", (*VOCABULARY, "ipc.messages.stream"), WORLD),
    Layer("services.sync", (*VOCABULARY, "ipc.messages.stream", "services.envelope"), WORLD),
    Layer("services.ring_end", ("ipc", "executive.runtime")),
    Layer(
        "services.cpg",
        (
            "ipc",
            "executive.runtime",
            "executive.config.model",
            "services.envelope",
            "services.sync",
            "services.ring_end",
        ),
    ),
    Layer("services.cpg.state", (*VOCABULARY, "ipc.messages", "services.cpg"), WORLD),
    *(
        Layer(f"services.cpg.{name}", (*VOCABULARY, "ipc.codec", "ipc.messages", "services"), WORLD)
        for name in (
            "engine",
            "audience",
            "effects",
            "memberships",
            "outbox",
            "wire",
            "channel",
            "subscription",
            "batches",
            "events",
            "lookup",
        )
    ),
    # It puts messages together in memory of the kernel's, and opens no file.
    Layer("services.cpg.transfers", (*VOCABULARY, "ipc.codec", "ipc.messages", "services"), WORLD - {"mmap"}),
    Layer(
        "services.quorum",
        (
            *("ipc", "executive.runtime", "executive.config.model"),
            *("services.envelope", "services.sync", "services.ring_end", "services.cpg.readiness"),
        ),
    ),
    # It turns the options into rules.
    Layer("services.quorum.rules", (*VOCABULARY, "executive.config.model", "services.quorum"), WORLD),
    *(
        Layer(f"services.quorum.{name}", (*VOCABULARY, "ipc.messages", "services"), WORLD)
        for name in ("audience", "effects", "engine", "report", "tracking", "votes", "wire")
    ),
    Layer("services.replica", ("ipc", "services.cpg")),
    *(
        Layer(f"services.replica.{name}", (*VOCABULARY, "services.cpg.events", "services.replica"), WORLD)
        for name in (
            *("census", "core", "decision", "donor", "effects", "errors", "follower", "history", "machine", "messages"),
            *("mapping", "pending", "policy", "roster", "transfer", "turns", "view"),
        )
    ),
    # It names places in a line that nobody has had before.
    Layer("services.replica.line_view", (*VOCABULARY, "services.cpg.events", "services.replica"), WORLD - {"secrets"}),
    Layer("sam", ("ipc", "executive.runtime", "executive.config.model", "services.cpg", "services.quorum", "aio")),
    *(
        Layer(f"sam.{name}", (*VOCABULARY, "ipc.messages", "sam"), WORLD)
        for name in ("calls", "conduct", "events", "health", "life", "limits", "machine", "monitor", "reactions")
    ),
    *(
        Layer(f"sam.keeper.{name}", (*VOCABULARY, "ipc.messages", "executive.config.model", "sam.keeper"), WORLD)
        for name in ("plan", "orders")
    ),
    Layer("sam.cluster", (*VOCABULARY, "ipc.messages", "sam.cluster"), WORLD),
    Layer("__init__", ("ipc", "services.cpg", "aio", "quorum", "replica", "sam", "testing")),
    Layer("aio", ("ipc", "services.cpg")),
    Layer("quorum", ("ipc", "services.quorum")),
    Layer("replica", ("services.replica",)),
    Layer("testing", ("ipc", "executive.totem.links.faults", "__init__")),
)

OWNERS = {"zmq": "ipc.endpoints"}
"""A library that only one module uses."""


class Import(NamedTuple):
    """An import statement, resolved: `ours` is a module of totemd without its first name, or None for a library."""

    line: int
    ours: str | None
    library: str


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def source_files() -> list[Path]:
    nested = [path for folder in PACKAGE_FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return sorted([*ROOT.glob("*.py"), *nested])


def absolute(path: Path, node: ast.ImportFrom) -> list[str]:
    """The modules of totemd that a relative import names: `from .core import ring` names core.ring if that exists."""
    folder = path.parent.relative_to(ROOT).parts
    base = folder[: len(folder) - (node.level - 1)]
    module = (*base, *(node.module.split(".") if node.module else ()))
    names = []
    for alias in node.names:
        deeper = ROOT.joinpath(*module, alias.name)
        exists = deeper.is_dir() or deeper.with_suffix(".py").exists()
        names.append(".".join((*module, alias.name) if exists else module) or "__init__")
    return names


def imports(path: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(level=0, module=str(module)):
                yield Import(node.lineno, None, module.split(".")[0])
            case ast.ImportFrom():
                yield from (Import(node.lineno, name, "") for name in absolute(path, node))
            case ast.Import(names=names):
                yield from (Import(node.lineno, None, alias.name.split(".")[0]) for alias in names)


def within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def layer_of(module: str) -> Layer | None:
    return max((row for row in LAYERS if within(module, row.name)), key=lambda row: len(row.name), default=None)


def violation(module: str, layer: Layer, each: Import) -> str | None:
    if each.ours is None:
        if each.library in NOWHERE | layer.never or OWNERS.get(each.library, module) != module:
            return f"{each.library} is not for {module}"
        return None
    if within(each.ours, layer.name) or any(within(each.ours, prefix) for prefix in layer.may):
        return None
    return f"{module} may not import {each.ours}"


@pytest.mark.parametrize("path", [pytest.param(path, id=module_name(path)) for path in source_files()])
def test_imports_respect_the_layers(path: Path) -> None:
    module = module_name(path)
    layer = layer_of(module)
    if layer is None:
        assert path.name == "__init__.py" and not list(imports(path)), f"{module} belongs to no row of LAYERS"
        return
    found = [f"{path}:{each.line}: {text}" for each in imports(path) if (text := violation(module, layer, each))]
    assert found == []


def test_every_row_stands_for_something() -> None:
    modules = [module_name(path) for path in source_files()]
    assert [row.name for row in LAYERS if not any(within(module, row.name) for module in modules)] == []


def test_the_rule_itself() -> None:
    """A broken import is seen: relative, absolute, and of a library."""
    core = layer_of("executive.totem.core.ring")
    assert core is not None
    assert violation("executive.totem.core.ring", core, Import(1, "executive.totem.links.udpu", ""))
    assert violation("executive.totem.core.ring", core, Import(1, None, "time"))
    assert violation("executive.totem.core.ring", core, Import(1, None, "zmq"))
    assert violation("executive.totem.core.ring", core, Import(1, None, "totemd"))
    assert violation("executive.totem.core.ring", core, Import(1, "executive.totem.wire.packets", "")) is None
