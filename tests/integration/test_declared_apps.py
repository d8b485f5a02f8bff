"""Applications of the configuration: started and stopped with the node, reloaded by difference, kept whoever dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from kit.command import alive
from kit.declared import SECONDS, Declared, until_gone
from totemd.testing import Cluster, wait_until


@pytest.fixture
def declared() -> Iterator[Declared]:
    with Cluster(1, start=False, faults=False) as cluster:
        yield Declared(cluster[1])


def test_they_start_and_stop_with_the_node_in_order(declared: Declared) -> None:
    slow = 'trap "sleep 0.3; echo web $$ >> $0.end; exit" TERM; while :; do sleep 0.05; done'
    declared.declare(
        declared.app("db", "group: back"),
        declared.app("web", "after: back", then=slow),
        declared.app("job", "policy: quit", then="exit 0"),
        reload=False,
    )
    declared.node.start()
    pids = [declared.started(name).pid for name in ("db", "web")]
    declared.until_state("job", "stopped")
    assert len(declared.stamps("job")) == 1
    assert set(declared.listed()["db"]) == {"name", "node_id", "pid", "state", "instance", "policy"}
    keeper = declared.keeper
    assert declared.node.stop() == 0
    assert not any(map(alive, pids)), "they have ended before the node did"
    until_gone(keeper)


def test_a_reload_touches_what_has_changed(declared: Declared) -> None:
    same = declared.app("same")
    declared.declare(same, declared.app("other"), declared.app("gone"), reload=False)
    declared.node.start()
    was = {name: declared.started(name) for name in ("same", "other", "gone")}
    declared.declare(same, declared.app("other", "backoff: 1"), declared.app("new"))
    declared.started("new")
    again = declared.started("other", 2)
    until_gone(was["other"].pid, was["gone"].pid)
    assert again.instance == 2
    assert declared.stamps("same") == [was["same"]] and alive(was["same"].pid)
    wait_until(lambda: set(declared.listed()) == {"same", "other", "new"}, SECONDS, "the new list")
    declared.declare()
    until_gone(was["same"].pid)
    wait_until(lambda: declared.keeper == 0, SECONDS, "the keeper leaves when nothing is to be kept")
    declared.declare(same)
    declared.started("same", 2)


def test_a_circle_is_refused_and_nothing_changes(declared: Declared) -> None:
    declared.declare(declared.app("a"), reload=False)
    declared.node.start()
    pid = declared.started("a").pid
    with pytest.raises(AssertionError, match="in a circle"):
        declared.declare(declared.app("a", "after: b"), declared.app("b", "after: a"))
    assert alive(pid)


@pytest.mark.parametrize("who", ["sam", "keeper", "executive", "all"])
def test_kill_9_loses_nothing_and_runs_nothing_twice(declared: Declared, who: str) -> None:
    declared.declare(declared.app("a"), declared.app("b", "requires: a"), reload=False)
    node = declared.node
    node.start()
    before = {name: declared.started(name) for name in ("a", "b")}
    keeper = declared.until_keeper()
    if who in ("sam", "all"):
        node.kill_process("sam")
    if who in ("keeper", "all"):
        os.kill(keeper, signal.SIGKILL)
    if who in ("executive", "all"):
        os.kill(node.pid(), signal.SIGKILL)
        node.wait()
        node.start()
    if who in ("keeper", "all"):
        declared.until_keeper(unlike=keeper)
    wait_until(
        lambda: (
            {name: app["pid"] for name, app in declared.listed().items()}
            == {name: stamp.pid for name, stamp in before.items()}
        ),
        SECONDS,
        "the same processes are listed",
    )
    assert {name: declared.stamps(name) for name in before} == {name: [stamp] for name, stamp in before.items()}
    for name, stamp in before.items():  # and they are kept still
        os.kill(stamp.pid, signal.SIGKILL)
        assert declared.started(name, 2).instance == 2
    pids = [declared.stamps(name)[1].pid for name in before]
    assert node.stop() == 0
    until_gone(*pids)


def test_what_dies_while_nobody_looks_is_started_again(declared: Declared) -> None:
    declared.declare(declared.app("a"), reload=False)
    declared.node.start()
    first = declared.started("a")
    sam = declared.node.pid("sam")
    os.kill(sam, signal.SIGSTOP)  # nobody starts another keeper meanwhile
    os.kill(declared.until_keeper(), signal.SIGKILL)
    os.kill(first.pid, signal.SIGKILL)
    os.kill(sam, signal.SIGCONT)
    assert declared.started("a", 2).instance == 2
    assert len(declared.stamps("a")) == 2


def test_orders_of_totemctl(declared: Declared) -> None:
    node = declared.node
    declared.declare(
        declared.app("db", "group: back"),
        declared.app("web", "requires: back", then="echo hello $TOTEMD_SAM_INSTANCE; exec sleep 1000"),
        declared.app("spare", "autostart: no"),
        "app {\nname: broken\ncommand: /nowhere/broken\nautostart: no\n}\n",
        reload=False,
    )
    node.start()
    first = {name: declared.started(name) for name in ("db", "web")}
    assert [app["name"] for app in declared.apps("stop", "back")] == ["web", "db"]
    until_gone(first["db"].pid, first["web"].pid)  # what requires it has ended, too
    assert not declared.stamps("spare")
    assert declared.apps("start", "web", "spare")[0]["state"] == "running"
    second = {name: declared.started(name, 2) for name in ("db", "web")}
    (done,) = declared.apps("restart", "db")
    assert (done["instance"], done["done"]) == (3, True)
    assert declared.stamps("web")[-1] == second["web"], "a restart does not touch what requires it"
    failed = node.control("apps", "start", "broken")
    assert failed.returncode == 1 and "No such file" in failed.stderr
    nobody = node.control("apps", "stop", "nobody")
    assert nobody.returncode == 1 and "there are: back, broken, db, spare, web" in nobody.stderr
    assert node.control("apps", "stop").returncode == 2
    full = {app["name"]: app for app in declared.apps("list")}
    assert full["web"]["requires"] == ["db"] and full["db"]["groups"] == ["back"] and full["spare"]["is_wanted"]
    (told,) = declared.apps("describe", "web")
    assert told["command"][0] == "sh" and told["restarts"] == 0 and told["pid"] == second["web"].pid
    words = node.control("apps", "describe", "web", "db")
    rows = [line.split(maxsplit=1) for line in words.stdout.splitlines()]
    assert words.returncode == 0 and ["requires", "db"] in rows and ["name", "db"] in rows
    assert any(row and row[0] == "limits" and "rss_bytes: 0" in row[1] for row in rows)
    assert node.control("apps", "logs", "web").stdout.splitlines() == ["hello 1", "hello 2"]
