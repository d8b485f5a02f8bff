"""What `import totemd` offers is what its `__all__` says, and all of it is explained."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FACADES = ("totemd", "totemd.aio", "totemd.quorum", "totemd.replica", "totemd.sam", "totemd.testing")

ON_DEMAND = ("quorum", "replica", "sam", "testing")
"""Facades that `import totemd` offers as attributes and does not import."""

PROMISED = (
    *("Client", "Group", "Message", "ConfigChange", "RingChange", "Rejoined", "Event"),
    *("Address", "Member", "Reason", "Guarantee", "RingId"),
    *("TotemdError", "TryAgain", "ConnectionLost", "AccessDenied", "InvalidArgument", "MessageTooLarge"),
    *("GroupNameTooLong", "NotMember", "AlreadyMember", "Expelled"),
)
"""Names that programs outside the project rely on."""


def bound_names(module: ModuleType) -> set[str]:
    """Public names that a facade's source binds, modules apart."""
    assert module.__file__ is not None
    names: set[str] = set()
    for node in ast.parse(Path(module.__file__).read_text()).body:
        match node:
            case ast.ImportFrom(module=source) if source != "__future__":
                names |= {alias.asname or alias.name for alias in node.names}
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
    return {name for name in names if not name.startswith("_") and not inspect.ismodule(getattr(module, name, None))}


@pytest.mark.parametrize("name", FACADES)
def test_all_says_what_there_is(name: str) -> None:
    module = importlib.import_module(name)
    assert sorted(set(module.__all__)) == sorted(module.__all__), "each once"
    assert bound_names(module) <= set(module.__all__), "nothing is offered in silence"
    assert [each for each in module.__all__ if not hasattr(module, each)] == []


@pytest.mark.parametrize("name", PROMISED)
def test_promised_names_are_there(name: str) -> None:
    module = importlib.import_module("totemd")
    assert name in module.__all__


CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)

FRESH = """
import sys
import totemd
assert "{0}" in dir(totemd)
early = [each for each in {1} if "totemd." + each in sys.modules]
assert not early, early
facade = totemd.{0}
assert facade is sys.modules["totemd.{0}"] and all(hasattr(facade, each) for each in facade.__all__)
late = [each for each in {1} if each != "{0}" and "totemd." + each in sys.modules]
assert not late, late
"""


@pytest.mark.parametrize("name", ON_DEMAND)
def test_a_facade_is_imported_when_it_is_first_used(name: str) -> None:
    """In an interpreter of its own: here everything has been imported long ago."""
    command = [sys.executable, "-c", FRESH.format(name, ON_DEMAND)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


def test_what_is_not_there_is_missing() -> None:
    module = importlib.import_module("totemd")
    with pytest.raises(AttributeError, match="module 'totemd' has no attribute 'quorun'"):
        _ = module.quorun
    with pytest.raises(ImportError, match="quorun"):
        exec("from totemd import quorun")


@pytest.mark.parametrize("name", FACADES)
def test_everything_public_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    undocumented = []
    for each in module.__all__:
        value = getattr(module, each)
        if inspect.isclass(value) and value.__module__.startswith("totemd."):
            undocumented += [] if inspect.getdoc(value) else [each]
            members = (item for item in vars(value).items() if not item[0].startswith("_"))
            undocumented += [
                f"{each}.{member}"
                for member, function in members
                if (inspect.isfunction(function) or isinstance(function, property)) and not inspect.getdoc(function)
            ]
    assert undocumented == []


@pytest.mark.parametrize("name", FACADES)
def test_everything_public_is_in_the_documentation(name: str) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    code = {word for page in pages for piece in CODE.findall(page.read_text()) for word in re.findall(r"\w+", piece)}
    assert [each for each in importlib.import_module(name).__all__ if each not in code] == []


def test_the_readme_uses_only_what_there_is() -> None:
    module = importlib.import_module("totemd")
    text = (ROOT / "README.md").read_text()
    used = {node.attr for block in code_blocks(text) for node in ast.walk(ast.parse(block)) if is_totemd(node)}
    assert used
    assert [name for name in used if not hasattr(module, name)] == []


def code_blocks(text: str) -> list[str]:
    return [part.split("```")[0] for part in text.split("```python\n")[1:]]


def is_totemd(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "totemd"
