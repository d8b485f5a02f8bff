"""The syntax of corosync.conf, line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.executive.config.parser import LINE_BYTES_MAX, PATH_BYTES_MAX, Section, parse


def shape(section: Section) -> dict[str, object]:
    """A section as nested dicts, the last of several winning."""
    found: dict[str, object] = {entry.key: entry.value for entry in section.entries}
    return found | {child.name: shape(child) for child in section.sections}


def read(text: str) -> dict[str, object]:
    root, problems = parse(text, "c")
    assert problems == ()
    return shape(root)


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in parse(text, "c")[1]]


def test_sections_keys_and_comments() -> None:
    text = "# first\n\ntotem {\n\tversion: 2\n  interface{\n mcastport:5405\n }\n}\n  # last"
    assert read(text) == {"totem": {"version": "2", "interface": {"mcastport": "5405"}}}


def test_line_numbers_count_every_line() -> None:
    root, _ = parse("\n# x\ntotem {\n\n token: 1\n}", "some/file")
    assert str(root.sections[0].place) == "some/file:3"
    assert str(root.sections[0].entries[0].place) == "some/file:5"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("k: 2001:db8::1", "2001:db8::1"),
        ("k: a # not a comment", "a # not a comment"),
        ("k: 'quoted'", "'quoted'"),
        ("k: va}lue", "va}lue"),
        ("k:", ""),
        ("  k  :  v  ", "v"),
        ("k: v\r", "v"),
        ("\u00a0k:\u00a0v\u00a0", "v"),
        ("\ufeffk: v", "v"),
        (b"\xa0k:\xa0v\xa0".decode("utf-8", "surrogateescape"), "v"),
        ("k: nötig", "nötig"),
    ],
)
def test_what_a_value_is(line: str, value: str) -> None:
    assert read(line) == {"k": value}


def test_the_last_line_needs_no_end() -> None:
    assert read("a {\nk: v\n}") == {"a": {"k": "v"}}


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("totem", "c:1: Line is not opening or closing section or key value"),
        ("{\n}", "c:1: Missing section name before opening bracket '{'"),
        ("a { b\n}", "c:1: Extra characters after opening bracket '{'"),
        ("a {\n} b", "c:2: Extra characters before or after closing bracket '}'"),
        ("}", "c:1: Unexpected closing brace"),
        ("a {\nb {\n}", "c:1: Missing closing brace: section 'a'"),
        (": v", "c:1: Key name can't be empty"),
        ("key: va{lue", "c:1: Extra characters after opening bracket '{'"),
        ("a b: c", "c:1: key name 'a b'"),
        ("a\x00b: c", "c:1: control character 0x00 at column 2"),
        (b"k: \xe9".decode("utf-8", "surrogateescape"), "c:1: byte 0xe9 at column 4 is not UTF-8"),
    ],
)
def test_what_is_wrong(text: str, fragment: str) -> None:
    assert any(problem.startswith(fragment) for problem in problems_of(text)), problems_of(text)


def test_a_comment_may_hold_any_bytes() -> None:
    assert problems_of(b"# caf\xe9 \x01".decode("utf-8", "surrogateescape")) == []


def test_line_length() -> None:
    longest = "k:" + "v" * (LINE_BYTES_MAX - 2)
    assert problems_of(longest) == []
    assert problems_of(longest + "\r") == []
    assert problems_of(longest + "v")[0].startswith("c:1: Line too long")
    assert problems_of("#" + "c" * LINE_BYTES_MAX)[0].startswith("c:1: Line too long")
    assert problems_of("k:" + "é" * (LINE_BYTES_MAX // 2))[0].startswith("c:1: Line too long")


def test_path_length() -> None:
    section = "s" * 200
    key = "k" * (PATH_BYTES_MAX - 201)
    assert problems_of(f"{section} {{\n{key}: v\n}}") == []
    assert "New key makes total cmap path too long" in problems_of(f"{section} {{\n{key}k: v\n}}")[0]
    assert "Start of section makes total cmap path too long" in problems_of(f"{section} {{\n{key}s {{\n}}\n}}")[0]


def test_nesting_of_any_depth_is_survived() -> None:
    depth = 10_000
    root, problems = parse("s {\n" * depth + "}\n" * depth, "c")
    assert problems
    while root.sections:
        root = root.sections[0]


def test_every_mistake_is_reported_and_the_rest_is_read() -> None:
    text = "totem {\n version 2\n token: 1\n interface { x\n  mcastport: 1\n }\n}\n}\nlogging {"
    root, problems = parse(text, "c")
    assert [problem.place.line for problem in problems] == [2, 4, 8, 9]
    assert shape(root) == {"totem": {"token": "1", "interface": {"mcastport": "1"}}, "logging": {}}


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    _, problems = parse(text, "c")
    assert all(1 <= problem.place.line <= text.count("\n") + 1 for problem in problems)


@given(st.text(alphabet=" \t\n\r{}:#ab", max_size=200))
def test_any_braces_are_survived(text: str) -> None:
    parse(text, "c")


NAMES = st.text(alphabet="abcXYZ019_-", min_size=1, max_size=8)
VALUES = st.text(alphabet="abc 019:./}#", max_size=20).map(str.strip)
TREES = st.recursive(VALUES, lambda children: st.dictionaries(NAMES, children, max_size=4), max_leaves=20).filter(
    lambda tree: isinstance(tree, dict)
)


@given(TREES)
def test_what_is_written_is_read_back(tree: dict[str, object]) -> None:
    def write(part: dict[str, object]) -> list[str]:
        lines = []
        for name, value in part.items():
            lines += [f"{name} {{", *write(value), "}"] if isinstance(value, dict) else [f"{name}: {value}"]
        return lines

    assert read("\n".join(write(tree))) == tree
