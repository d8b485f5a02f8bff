"""What a reload changes, what it refuses, and what configuration comes out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from totemd.executive.config.diff import reload
from totemd.executive.config.kinds import Switch
from totemd.executive.config.model import Configuration
from totemd.executive.config.options import Option
from totemd.executive.config.schema import OPTIONS

Configure = Callable[..., Configuration]


def text(*nodes: tuple[int, str], more: str = "", totem: str = "") -> str:
    """A file with these nodes; the local one has the address 192.0.2.11."""
    listed = "".join(f"node {{\nnodeid: {number}\nring0_addr: {address}\n}}\n" for number, address in nodes)
    return f"totem {{\nversion: 2\n{totem}\n}}\nnodelist {{\n{listed}}}\n{more}"


ONE = ((1, "192.0.2.11"),)
TWO = (*ONE, (2, "192.0.2.12"))
THREE = (*TWO, (3, "192.0.2.13"))


def keys(changes: tuple[object, ...]) -> list[str]:
    return [str(change).partition(":")[0] for change in changes]


def test_nothing_changed(configure: Configure) -> None:
    configuration = configure(text(*TWO))
    done = reload(configuration, configure(text(*TWO)))
    assert done.configuration == configuration
    assert done.applied == done.refused == done.warnings == ()


def test_live_options_apply(configure: Configure) -> None:
    old = configure(text(*TWO))
    new = configure(text(*TWO, totem="token: 5000", more="logging {\ndebug: on\n}\nuidgid {\nuid: 7\n}\nmy: own\n"))
    done = reload(old, new)
    assert done.refused == ()
    assert [str(change) for change in done.applied] == [
        "logging.debug: not set -> on",
        "totem.token: not set -> 5000",
        "uidgid.config.uid.7: not set -> 1",
    ]
    assert done.configuration == new


def test_fixed_options_keep_their_value(configure: Configure) -> None:
    old = configure(text(*TWO, totem="netmtu: 1400\ncluster_name: a"))
    new = configure(text(*TWO, totem="netmtu: 9000\nsecauth: on\ntoken: 5000\ninterface {\nmcastport: 6000\n}"))
    done = reload(old, new)
    assert done.warnings == tuple(
        f"Modified entry '{key}' in corosync.conf cannot be changed at run-time"
        for key in ("totem.cluster_name", "totem.interface.0.mcastport", "totem.netmtu", "totem.secauth")
    )
    kept = done.configuration
    assert (kept.totem.netmtu, kept.totem.cluster_name) == (1400, "a")
    assert not kept.totem.sealed
    assert kept.interfaces == old.interfaces
    assert kept.totem.token == 5000
    assert kept.cmap["totem.netmtu"] == 1400
    assert kept.cmap["totem.cluster_name"] == "a"
    assert "totem.secauth" not in kept.cmap
    assert kept.cmap["runtime.config.totem.netmtu"] == 1400
    assert kept.cmap["runtime.config.totem.token"] == 5000


def test_what_has_no_effect_is_no_change(configure: Configure) -> None:
    """Typing errors, options that nothing acts on, sections of others: in cmap, but neither applied nor refused."""
    idle = "tokn: 5\nlink_mode: active\nthreads: 2"
    others = "surprise {\nx: 1\n}\nquorum {\ndevice {\nmodel: net\nnet {\nhost: q\n}\n}\n}\nmy: own\n"
    old, new = configure(text(*TWO)), configure(text(*TWO, totem=idle, more=others))
    for done in (reload(old, new), reload(new, old)):
        assert done.applied == done.refused == done.warnings == ()
    assert reload(old, new).configuration == new
    assert new.cmap["totem.tokn"] == "5"
    assert any("did you mean 'token'?" in notice for notice in reload(old, new).configuration.notices)


def test_another_spelling_has_an_effect(configure: Configure) -> None:
    old, new = configure(text(*TWO)), configure(text(*TWO, more="logging {\nsyslog_level: err\n}"))
    assert keys(reload(old, new).applied) == ["logging.syslog_level"]


def test_a_reload_after_a_reload_refuses_the_same(configure: Configure) -> None:
    old, new = configure(text(*TWO)), configure(text(*TWO, totem="netmtu: 9000"))
    first = reload(old, new)
    second = reload(first.configuration, new)
    assert keys(second.refused) == ["totem.netmtu"]
    assert second.configuration == first.configuration


def test_nodes_come_and_go_and_the_timers_follow(configure: Configure) -> None:
    old, new = configure(text(*TWO)), configure(text(*THREE))
    grown = reload(old, new)
    assert grown.refused == ()
    assert grown.configuration.nodes == new.nodes
    assert (old.totem.token, grown.configuration.totem.token) == (3000, 3650)
    shrunk = reload(grown.configuration, old)
    assert shrunk.configuration.nodes == old.nodes
    assert shrunk.configuration.totem.token == 3000
    moved = reload(old, configure(text(*ONE, (2, "192.0.2.99"))))
    assert moved.configuration.node(2).addresses == ("192.0.2.99",)


@pytest.mark.parametrize(
    "nodes",
    [
        ((9, "192.0.2.11"), (2, "192.0.2.12"), (3, "192.0.2.13")),
        ((1, "192.0.2.13"), (2, "192.0.2.12"), (3, "192.0.2.11")),
    ],
)
def test_this_nodes_own_place_stays(configure: Configure, nodes: tuple[tuple[int, str], ...]) -> None:
    """The node list, and what is counted from it, waits for a restart when this node itself would be another."""
    old, new = configure(text(*TWO)), configure(text(*nodes))
    done = reload(old, new)
    assert done.applied == ()
    assert done.refused
    kept = done.configuration
    assert (kept.nodes, kept.local_node_id, kept.interfaces) == (old.nodes, old.local_node_id, old.interfaces)
    assert (kept.totem, kept.quorum) == (old.totem, old.quorum)
    assert kept.cmap == old.cmap


def test_another_address_of_this_node_waits(configure: Configure) -> None:
    old = configure(text((1, "127.0.0.2"), (2, "192.0.2.12"), totem="nodeid: 1"))
    new = configure(text((1, "127.0.0.3"), (2, "192.0.2.77"), totem="nodeid: 1\njoin: 60"))
    done = reload(old, new)
    assert keys(done.refused) == ["nodelist.node.0.ring0_addr", "nodelist.node.1.ring0_addr"]
    assert done.configuration.nodes == old.nodes
    assert done.configuration.totem.join == 60


def test_another_link_waits(configure: Configure) -> None:
    old = configure(text(*TWO))
    linked = text(*((n, f"{address}\nname: n{n}\nring1_addr: 10.0.0.{n}") for n, address in TWO))
    done = reload(old, configure(linked))
    assert done.configuration.interfaces == old.interfaces
    assert done.configuration.nodes == old.nodes
    assert "nodelist.node.0.ring1_addr" in keys(done.refused)


def test_the_inline_key_is_never_shown(configure: Configure) -> None:
    old = configure(text(*TWO, totem=f"secauth: on\nkey: {'a' * 128}"))
    new = configure(text(*TWO, totem=f"secauth: on\nkey: {'b' * 128}"))
    done = reload(old, new)
    assert [str(change) for change in done.refused] == ["totem.key: (not shown) -> (not shown)"]
    assert done.configuration.totem.key == "a" * 128
    assert "totem.key" not in done.configuration.cmap


FIXED = [option for option in OPTIONS if not option.reload]


def test_what_corosync_cannot_reload_is_fixed_here_too() -> None:
    fixed = {option.path for option in FIXED}
    assert fixed >= {
        *(f"totem.{key}" for key in ("version", "threads", "ip_version", "rrp_mode", "netmtu", "transport")),
        *("totem.cluster_name", "quorum.provider", "system.sched_rr", "system.state_dir"),
        *(f"totem.interface.{key}" for key in ("ringnumber", "bindnetaddr", "mcastaddr", "broadcast", "mcastport")),
    }
    assert not any(option.section.startswith(("logging", "uidgid")) for option in FIXED)


SWITCHES = [option for option in OPTIONS if isinstance(option.kind, Switch) and option.section in {"totem", "system"}]


@pytest.mark.parametrize("option", SWITCHES, ids=lambda option: option.path)
def test_the_table_decides(configure: Configure, option: Option) -> None:
    section, _, key = option.path.rpartition(".")
    first, second = (configure(text(*TWO, more=f"{section} {{\n{key}: {word}\n}}")) for word in ("yes", "no"))
    done = reload(first, second)
    mentioned = [option.path] if option.acts else []
    assert keys(done.applied if option.reload else done.refused) == mentioned
    if option.model_field:
        kept = getattr(getattr(done.configuration, section), option.model_field)
        assert kept is not option.reload
