"""What the pages and the sources point to is there: files, and headings within them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("bench", "conf", "docs", "examples", "executive", "ipc", "sam", "services", "testing", "tests")

LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
NAMED = re.compile(r"\bdocs/[\w./-]+?\.(?:md|svg)\b")


def _files(suffix: str) -> list[Path]:
    top = [*ROOT.glob(f"*.{suffix}"), *(path for folder in OURS for path in (ROOT / folder).rglob(f"*.{suffix}"))]
    return sorted(path.relative_to(ROOT) for path in top)


PAGES = _files("md")


def links(text: str) -> list[str]:
    """Targets in this repository; what stands in code is no link."""
    prose = CODE.sub("", FENCE.sub("", text))
    return [target for target in LINK.findall(prose) if not ELSEWHERE.match(target)]


def anchors(text: str) -> set[str]:
    """Of all headings, as hosts of repositories make them: a name that comes again gets a number."""
    seen: dict[str, int] = {}
    found = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if slug in seen else slug)
        seen[slug] = seen.get(slug, 0) + 1
    return found


def dead(page: Path, text: str) -> Iterator[str]:
    """Links of a page that lead nowhere."""
    for target in links(text):
        path, _, anchor = unquote(target).partition("#")
        there = (ROOT / page.parent / path).resolve() if path else ROOT / page
        if not there.is_relative_to(ROOT) or not there.exists():
            yield f"{target}: there is no such file"
        elif anchor and there.suffix == ".md" and anchor not in anchors(there.read_text()):
            yield f"{target}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(dead(page, (ROOT / page).read_text())) == []


def test_pages_that_are_named_are_there() -> None:
    missing = [
        f"{path}: {name}"
        for path in [*PAGES, *_files("py")]
        for name in NAMED.findall((ROOT / path).read_text())
        if not (ROOT / name).exists()
    ]
    assert missing == []


def test_every_page_can_be_reached() -> None:
    reached, ahead = set(), {Path("README.md")}
    while ahead:
        page = ahead.pop()
        reached.add(page)
        for target in links((ROOT / page).read_text()):
            there = (ROOT / page.parent / target.partition("#")[0]).resolve()
            if there.suffix == ".md" and there.is_relative_to(ROOT) and there.exists():
                ahead |= {there.relative_to(ROOT)} - reached
    assert sorted(map(str, {page for page in PAGES if page.parts[0] == "docs"} - reached)) == []


def test_it_sees_what_is_dead() -> None:
    text = "[a](none.md) [b](README.md#none) [c](#here) `[d](x.md)` [e](https://x.org/y.md)\n\n## Here\n"
    assert list(dead(Path("CHANGES.md"), text.replace("(#here)", "(docs/testing.md#none)"))) == [
        "none.md: there is no such file",
        "README.md#none: there is no such heading",
        "docs/testing.md#none: there is no such heading",
    ]
    assert anchors("# A `b` c\n## It's [d](e.md)\n## It's d\n```\n# no\n```\n") == {"a-b-c", "its-d", "its-d-1"}
