"""Which run directory it is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from totemd.ipc.errors import AccessDenied
from totemd.ipc.paths import RUN_DIR_OF_ROOT, run_dir


def test_what_is_named_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_dir("relative", {"COROSYNC_RUN_DIR": "/other"}) == tmp_path / "relative"
    assert run_dir(Path("/run/x"), {}) == Path("/run/x")
    assert run_dir(None, {"COROSYNC_RUN_DIR": "/other"}) == Path("/other")


def test_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert run_dir(None, {"XDG_RUNTIME_DIR": "/run/user/0"}) == RUN_DIR_OF_ROOT
    assert run_dir(None, {"COROSYNC_RUN_DIR": ""}) == RUN_DIR_OF_ROOT


def test_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert run_dir(None, {"XDG_RUNTIME_DIR": "/run/user/4711"}) == Path("/run/user/4711/totemd")
    assert run_dir(None, {}) == tmp_path / "totemd-4711"


def test_somebody_else_was_there_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    me = os.geteuid()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    (tmp_path / f"totemd-{me + 1}").mkdir()
    with pytest.raises(AccessDenied, match=f"belongs to user {me}"):
        run_dir(None, {})
