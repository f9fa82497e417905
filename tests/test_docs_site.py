"""The docs site: its contents name every page, links and headings exist, tables are complete, Sphinx is content."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from docs.make_reference import PAGES, page
from docs.make_site import build
from inspector.cli.main import COMMANDS
from inspector.export.kinds import SCHEMAS
from inspector.tui.keys import SCREENS
from layouts.arm64.sysregs import encodings, name_of
from layouts.registry import layouts
from layouts.x86.cpuid import cpuid_sections
from layouts.x86.msrs import MSR_REGISTERS
from layouts.x86.xsave import COMPONENTS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
#: Made at once from the tables; the others take a second.
LIGHT = [name for name in PAGES if name not in ("errors", "commands")]


def contents() -> list[str]:
    """What the first page's contents name, in their order."""
    text = (DOCS / "index.md").read_text("utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]


def headings(text: str) -> set[str]:
    """Anchors of a page's headings, as forges and MyST make them."""
    found: set[str] = set()
    for title in re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    ):
        slug = re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).replace(" ", "-")
        count = sum(one == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", one) is not None for one in found)
        found.add(f"{slug}-{count}" if count else slug)
    return found


def test_the_contents_name_every_page_once() -> None:
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.glob("**/*.md")}
    made = {f"reference/{name}" for name in PAGES} | {"contributing"}
    named = contents()
    assert len(named) == len(set(named))
    assert set(named) == (pages | made) - {"index"}


def test_links_go_to_headings_that_there_are() -> None:
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("**/*.md")):
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", path.read_text("utf-8")):
            if not target.startswith("http"):
                there = (path.parent / target) if target else path
                assert anchor in headings(there.read_text("utf-8")), f"{path.name}: {target}#{anchor}"


def test_the_reference_has_every_entry_of_the_tables() -> None:
    text = {name: page(name) for name in LIGHT}
    assert all(f"## {each.number} {each.name}" in text["components"] for each in COMPONENTS)
    assert all(f"## {name}\n" in text["structures"] for name in layouts())
    assert all(
        f"`{bits.name}`" in text["cpuid"] for each in cpuid_sections().values() for one in each for bits in one.bits
    )
    assert all(f"`{kind}`" in text["json-kinds"] for kind in SCHEMAS)
    assert all(f"## {screen}" in text["keys"] for screen in SCREENS)
    assert all(f"| `{name_of(op)}` |" in text["arm64-registers"] for op in encodings().values())
    assert all(f"## {number:#x} " in text["msrs"] for number in MSR_REGISTERS)


def test_every_command_is_in_the_reference() -> None:
    text = page("commands")
    assert all(f"## inspector {command}\n" in text for command in COMMANDS)


@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Every link, page and table: what ``make docs`` reads, without writing its pages."""
    assert build(tmp_path, "dummy") == 0


def test_development_dependencies_are_bounded_and_have_reasons() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    reasons = (DOCS / "decisions/0002-dependencies.md").read_text()
    for line in (*groups["docs"], *groups["mutants"]):
        assert "<" in line
        assert re.split(r"[<>=; ]", line)[0] in reasons
