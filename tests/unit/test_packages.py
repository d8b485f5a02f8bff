"""The list of packages in pyproject.toml is kept by hand; here it is held against the tree."""

from __future__ import annotations

import inspect
import pkgutil
import tomllib
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest
import totemd
import totemd.sam

ROOT = Path(__file__).resolve().parents[2]
NOT_INSTALLED = {"tests", "conf", "docs", "examples", "bench", "build", "dist"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages_in_tree() -> list[str]:
    found = ["totemd"]
    for init in ROOT.rglob("__init__.py"):
        parts = init.parent.relative_to(ROOT).parts
        if parts and parts[0] not in NOT_INSTALLED and not any(part.startswith((".", "_")) for part in parts):
            found.append(".".join(("totemd", *parts)))
    return sorted(found)


def test_every_package_is_listed_and_every_listed_one_exists() -> None:
    assert PROJECT["tool"]["setuptools"]["packages"] == packages_in_tree()


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in ROOT.rglob("*.py")}
    inside = [
        folder
        for folder in folders
        if (parts := folder.relative_to(ROOT).parts) and parts[0] not in NOT_INSTALLED and not parts[0].startswith(".")
    ]
    assert [folder for folder in inside if not (folder / "__init__.py").exists()] == []


def test_tests_are_no_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("target", sorted(PROJECT["project"]["scripts"].values()))
def test_a_console_script_leads_somewhere(target: str) -> None:
    module, function = target.split(":")
    assert find_spec(module) is not None
    loaded = __import__(module, fromlist=[function])
    assert callable(getattr(loaded, function))


def test_the_installed_scripts_are_those_of_the_project() -> None:
    installed = {
        each.name: each.value for each in entry_points(group="console_scripts") if each.value.startswith("totemd.")
    }
    if not installed:
        pytest.skip("totemd runs from its sources here; it is not installed")
    assert installed == PROJECT["project"]["scripts"]


def test_no_module_hides_a_public_name() -> None:
    """Importing `package.name` sets the attribute `name` of the package, whatever stood there."""
    for package in (totemd, totemd.sam):
        modules = {each.name for each in pkgutil.iter_modules(package.__path__)}
        hidden = [name for name in package.__all__ if name in modules and not inspect.ismodule(getattr(package, name))]
        assert hidden == [], f"{package.__name__}: names of modules and of something else"
