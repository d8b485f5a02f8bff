"""Declared applications: what a section means, what is wrong with it and where, and how a reload tells of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.executive.config.apps import APPS_MAX, find_circle
from totemd.executive.config.diff import reload
from totemd.executive.config.model import AppEntry, Configuration
from totemd.ipc.errors import ConfigurationError
from totemd.sam.section import FLAG_WORDS, PARAMETERS, Key, declared_options, is_flag

Configure = Callable[..., Configuration]

BASE = "totem {\n version: 2\n}\nnodelist {\n node {\n ring0_addr: 192.0.2.11\n nodeid: 1\n }\n}\n"


def section(*apps: str) -> str:
    """The applications' lines, separated by `|`; the first app starts at line 10."""
    return BASE + "sam {\n" + "".join("app {\n" + app.replace("|", "\n") + "\n}\n" for app in apps) + "}\n"


def problems(configure: Configure, *apps: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        configure(section(*apps))
    return caught.value.problems


def test_all_of_an_application(configure: Configure) -> None:
    text = section(
        "name: db|command: /bin/db --name 'my db'|group: back|stop_timeout: 30000",
        "name: cache|command: cache|group: back",
        "name: web|command: web|after: back|requires: db|autostart: no|max_restarts: unlimited",
    )
    db, cache, web = configure(text).apps
    assert db == AppEntry("db", ("/bin/db", "--name", "my db"), {"stop_timeout": ("30000",)}, ("back",))
    assert cache.groups == ("back",) and cache.autostart
    assert web == AppEntry(
        "web", ("web",), {"max_restarts": ("unlimited",)}, after=("db", "cache"), requires=("db",), autostart=False
    )


def test_they_are_policies_like_those_of_the_command_line(configure: Configure) -> None:
    (entry,) = configure(section("name: a|command: x|policy: quit|backoff: 0|stop_signal: INT|interval: 250")).apps
    options = declared_options(entry.name, entry.command, entry.options)
    assert (options.name, options.command, options.policy.interval, options.policy.stop_signal) == (
        "a",
        ("x",),
        0.25,
        2,
    )


def test_every_option_of_sam_run_has_a_key() -> None:
    assert {"policy", "interval", "backoff", "max_restarts", "stop_signal", "stop_timeout", "start_period"} <= {
        *PARAMETERS
    }


@pytest.mark.parametrize("key", [key for key in PARAMETERS if key != "name"])
def test_the_defaults_that_are_shown_are_accepted(key: str) -> None:
    parameter = PARAMETERS[key]
    kind = Key(parameter)
    assert kind.accepts
    if is_flag(parameter):
        assert all(kind.read(key, word) == word for word in FLAG_WORDS)
        with pytest.raises(ValueError, match="yes or no"):
            kind.read(key, "perhaps")
    elif isinstance(parameter.default, str | int | float):
        assert kind.read(key, str(parameter.default)) == str(parameter.default)


@pytest.mark.parametrize(
    ("apps", "line", "says"),
    [
        (["command: x"], 11, "add `name: NAME`"),
        (["name: a"], 11, "add `command: PROGRAM ARGUMENTS`"),
        (["name: a b|command: x"], 12, "letters, digits"),
        (["name: a|command: 'x"], 13, "quotes come in pairs"),
        (["name: a|command:"], 13, "no program is named"),
        (["name: a|command: x", "name: a|command: y"], 16, "is declared at c:12 already"),
        (["name: a|command: x|interval: soon"], 14, "0 to 2147483647 ms"),
        (["name: a|command: x|policy: maybe"], 14, "restart or quit"),
        (["name: a|command: x|stop_signal: NONE"], 14, "TERM or SIGTERM"),
        (["name: a|command: x|after: b c", "name: c|command: y"], 14, "no application or group 'b'; there are: c"),
        (["name: a|command: x|requires: b"], 14, "there are: none"),
        (["name: a|command: x|group: a"], 14, "a group has a name of its own"),
        (["name: a|command: x|group: -"], 14, "is no name"),
        (["name: a|command: x|after: a"], 14, "in a circle: a after a;"),
    ],
)  # fmt: skip
def test_what_is_wrong_and_where(configure: Configure, apps: list[str], line: int, says: str) -> None:
    (problem,) = problems(configure, *apps)
    assert problem.startswith(f"c:{line}: ") and says in problem


def test_a_circle_through_a_group(configure: Configure) -> None:
    (problem,) = problems(
        configure,
        "name: a|command: x|group: g",
        "name: b|command: x|requires: g",
        "name: c|command: x|after: b|group: g",
    )
    assert problem.startswith("c:19: ") and "b after c after b" in problem


def test_its_own_group_does_not_mean_itself(configure: Configure) -> None:
    a, b = configure(section("name: a|command: x|group: g", "name: b|command: x|group: g|after: g")).apps
    assert (a.after, b.after) == ((), ("a",))


def test_an_unknown_key_is_told_with_the_nearest(configure: Configure) -> None:
    notices = configure(section("name: a|command: x|stop_timout: 5")).notices
    assert any("c:14: unknown option 'stop_timout'" in each and "'stop_timeout'" in each for each in notices)


def test_there_are_bounds(configure: Configure) -> None:
    (problem,) = problems(configure, *(f"name: a{number}|command: x" for number in range(APPS_MAX + 1)))
    assert f"at most {APPS_MAX}" in problem


def test_a_reload_applies_and_tells_by_name(configure: Configure) -> None:
    old = configure(section("name: a|command: x", "name: b|command: y|group: g|group: h"))
    new = configure(section("name: b|command: y|group: g|group: i", "name: c|command: z"))
    done = reload(old, new)
    assert done.configuration.apps == new.apps and not done.refused
    assert [change.key for change in done.applied] == [
        "sam.app.a.command",
        "sam.app.a.name",
        "sam.app.b.group.1",
        "sam.app.c.command",
        "sam.app.c.name",
    ]


@given(st.dictionaries(st.integers(0, 8), st.lists(st.integers(0, 8), max_size=4), max_size=9))
def test_circles_are_found_exactly_where_there_are_some(edges: dict[int, list[int]]) -> None:
    before = {str(node): tuple(str(other) for other in edges.get(node, ())) for node in range(9)}
    seen: set[str] = set()
    found = [circle for name in before if (circle := find_circle(before, name, seen))]
    for circle in found:
        assert all(later in before[one] for one, later in zip(circle, [*circle[1:], circle[0]], strict=True))
    left = dict(before)
    while free := [name for name, others in left.items() if not set(others) & left.keys()]:
        for name in free:
            del left[name]
    assert bool(found) == bool(left)
