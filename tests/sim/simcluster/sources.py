"""Which sources a run depends on: those of the simulator, and all that they import of the package, however deep.

Imports are read, not carried out: what stands in a function counts like what stands at the top.  A package's `__init__`
counts only where something is imported that it holds itself: that it is run on the way to a module of the package
does nothing to a simulated cluster.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

SIMULATOR = Path("tests/sim/simcluster")
BEGINNING = Path("tests/sim/run.py")
PACKAGES = {"totemd": Path(), "simcluster": SIMULATOR}
"""Name of a package -> its folder, from the root on."""


def fingerprint(root: Path = ROOT) -> str:
    """Names the sources that a run depends on; any change of one of them changes it."""
    digest = hashlib.sha256()
    for path in sorted(closure(root).values()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def closure(root: Path = ROOT) -> dict[str, Path]:
    """Module -> file, of all modules that a run depends on."""
    reader = _Reader(root)
    found: dict[str, Path] = {}
    waiting = [f"simcluster.{path.stem}" for path in (root / SIMULATOR).glob("*.py")]
    waiting += reader.imports("__main__", root / BEGINNING)
    while waiting:
        module = waiting.pop()
        path = reader.file(module)
        if path is not None and module not in found:
            found[module] = path
            waiting += reader.imports(module, path)
    return {"__main__": root / BEGINNING, **found}


class _Reader:
    """Reads what the modules below a root import of each other."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def file(self, module: str) -> Path | None:
        """Where a module is; None: it is none of ours, or a name in one."""
        package, *names = module.split(".")
        if package not in PACKAGES:
            return None
        place = self._root.joinpath(PACKAGES[package], *names)
        both = (place.with_suffix(".py"), place / "__init__.py") if names else (place / "__init__.py",)
        return next((path for path in both if path.is_file()), None)

    def imports(self, module: str, path: Path) -> list[str]:
        """The modules that one imports, anywhere in it."""
        found: list[str] = []
        for statement in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(statement, ast.Import):
                found += (alias.name for alias in statement.names)
            elif isinstance(statement, ast.ImportFrom):
                source = _source(module, path, statement)
                found += (self._holder(source, alias.name) for alias in statement.names)
        return found

    def _holder(self, source: str, name: str) -> str:
        """The module that is meant by importing *name* from *source*: itself, or where a package has it from."""
        if self.file(f"{source}.{name}") is not None:
            return f"{source}.{name}"
        path = self.file(source)
        if path is not None and path.name == "__init__.py":
            for statement, alias in _names(path):
                if name == (alias.asname or alias.name):
                    return self._holder(_source(source, path, statement), alias.name)
        return source


def _names(path: Path) -> Iterator[tuple[ast.ImportFrom, ast.alias]]:
    """What a package takes over from its modules."""
    for statement in ast.parse(path.read_bytes()).body:
        if isinstance(statement, ast.ImportFrom):
            yield from ((statement, alias) for alias in statement.names)


def _source(module: str, path: Path, statement: ast.ImportFrom) -> str:
    """The module that a statement imports from, in full."""
    if not statement.level:
        return statement.module or ""
    parts = module.split(".")
    above = statement.level - (path.name == "__init__.py")
    parts = parts[: len(parts) - above]
    return ".".join((*parts, statement.module) if statement.module else parts)
