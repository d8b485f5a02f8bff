"""Who may connect."""

from __future__ import annotations

import os

import pytest
from totemd.executive.config.model import AccessRules
from totemd.executive.runtime.access import DENIALS_LOGGED, Gate, is_owner, socket_mode
from totemd.executive.runtime.logging import Logger, get_logger
from totemd.ipc.endpoints import Credentials
from totemd.ipc.errors import AccessDenied

RULES = AccessRules(uids=(1001,), gids=(2002,))


@pytest.mark.parametrize(("uid", "gid"), [(0, 0), (os.geteuid(), 77), (1001, 77), (77, 2002)])
def test_let_in(uid: int, gid: int) -> None:
    Gate(RULES, get_logger()).require(Credentials(uid, gid, 1), 0)


def test_denied_in_corosyncs_words_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(Logger, "err", lambda self, event, **_: lines.append(event))
    gate = Gate(RULES, get_logger())
    for _ in range(100):
        with pytest.raises(AccessDenied, match=r"user 1002 \(group 1002\) may not connect"):
            gate.require(Credentials(1002, 1002, 4711), 1)
    assert lines == ["Denied connection attempt from 1002:1002"] * DENIALS_LOGGED


def test_rules_may_be_replaced() -> None:
    gate = Gate(AccessRules(), get_logger())
    with pytest.raises(AccessDenied):
        gate.require(Credentials(1001, 5, 1), 0)
    gate.rules = RULES
    gate.require(Credentials(1001, 5, 1), 0)


@pytest.mark.parametrize(("rules", "mode"), [(AccessRules(), 0o600), (AccessRules(uids=(5,)), 0o666), (RULES, 0o666)])
def test_socket_modes(rules: AccessRules, mode: int) -> None:
    assert socket_mode(rules) == mode


def test_owners() -> None:
    assert is_owner(0)
    assert is_owner(os.geteuid())
    assert not is_owner(os.geteuid() + 1)
