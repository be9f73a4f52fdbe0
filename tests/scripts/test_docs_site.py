# SPDX-License-Identifier: MIT
"""The docs site builds without warnings and needs no network; links and lines of the other prose files are good."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify

ROOT = Path(__file__).resolve().parents[2]
PROSE = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md"]


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of the tree at ROOT as scripts/docs does."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    return subprocess.run(
        [*command, "--config-file", str(root / "scripts/pages/mkdocs.yml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


class Fetched(HTMLParser):
    """Collects the addresses of what a browser fetches to show a page: scripts, styles, pictures, fonts."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "link") and named.get("rel") != "canonical":
            self.addresses += filter(None, (named.get("src"), named.get("href")))


def test_the_site_builds_without_warnings_and_fetches_nothing_from_other_hosts(tmp_path: Path) -> None:
    site = tmp_path / "site"
    built = build(ROOT, site)
    assert built.returncode == 0, built.stdout
    for page in (ROOT / "docs").glob("*.md"):
        text = (site / page.name).with_suffix(".html").read_text()
        fetched = Fetched()
        fetched.feed(text)
        assert fetched.addresses
        assert [each for each in fetched.addresses if re.match(r"(https?:)?//", each)] == []
        prose = re.sub(r"<(pre|code)\b.*?</\1>", "", text, flags=re.DOTALL)
        assert "](" not in prose, f"raw Markdown in {page.name}"


def test_broken_links_fail_the_build(tmp_path: Path) -> None:
    for folder in ("docs", "scripts/pages"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    page = tmp_path / "docs" / "api.md"
    page.write_text(page.read_text() + "\n[a](rules.md#nowhere) [b](nosuch.md) [c](../nosuch.py)\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode == 1
    for what in ("#nowhere", "'nosuch.md'", "'nosuch.py'"):
        assert what in built.stdout


@pytest.mark.parametrize("name", PROSE)
def test_links_from_the_other_prose_files_lead_to_a_file_and_a_heading(name: str) -> None:
    file = ROOT / name
    links = [each for each in re.findall(r"\]\(([^)\s]+)\)", file.read_text()) if "://" not in each]
    assert links or name in ("CHANGELOG.md", "SECURITY.md")
    for link in links:
        target, _, anchor = link.partition("#")
        found = file.parent / target if target else file
        assert found.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(), flags=re.MULTILINE)
            assert anchor in [slugify(each, "-") for each in headings], link


@pytest.mark.parametrize("name", [*PROSE, *sorted(f"docs/{each.name}" for each in (ROOT / "docs").glob("*.md"))])
def test_prose_lines_have_at_most_100_characters(name: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / name).read_text(), flags=re.DOTALL | re.MULTILINE)
    assert [line for line in text.splitlines() if len(line) > 100 and not line.startswith("|")] == []


def test_the_index_has_every_page_in_the_order_of_the_site() -> None:
    rows = re.findall(r"^\| \[[^]]+\]\((\w+\.md)\)", (ROOT / "docs" / "index.md").read_text(), flags=re.MULTILINE)
    site = re.findall(r"^  - (\w+\.md)$", (ROOT / "scripts/pages/mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert ["index.md", *rows] == site
    assert sorted(site) == sorted(each.name for each in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_files_and_folders_of_the_house_that_are_named_exist(name: str) -> None:
    roots = "|".join(each.name for each in ROOT.iterdir() if each.is_dir() and not each.name.startswith((".", "_")))
    named = set(re.findall(rf"`((?:{roots})/[\w/.-]*)`", (ROOT / name).read_text()))
    assert len(named) > 10
    assert [each for each in sorted(named) if not (ROOT / each).exists()] == []
