"""Build the docs site in build/site: make docs. The pages of docs/, the reference from the tables, no warnings.

Pages are copied, so that the reference, which is made here, stands beside them without being committed. A link to a
file of the source that is no page becomes its name.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from docs.make_reference import PAGES, page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SITE = ROOT / "build/site"
_OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./([^)#]+)(#[^)]*)?\)")


def stage(source: Path, reference: Iterable[str] = PAGES) -> None:
    """All pages, pictures and settings in one folder, with these pages of the reference."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(DOCS / "pictures", source / "pictures", ignore=shutil.ignore_patterns("*.toml"))
    shutil.copy(DOCS / "site/conf.py", source)
    for path in DOCS.glob("**/*.md"):
        to = source / path.relative_to(DOCS)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(_OUTSIDE.sub(_inside, path.read_text("utf-8")), "utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (source / "contributing.md").write_text(contributing.replace("](docs/", "]("), "utf-8")
    (source / "reference").mkdir()
    for name in reference:
        (source / f"reference/{name}.md").write_text(page(name), "utf-8")


def _inside(link: re.Match[str]) -> str:
    text, path, anchor = link[1], link[2], link[3] or ""
    return f"[{text}](contributing.md{anchor})" if path == "CONTRIBUTING.md" else f"`{path}`"


def build(site: Path, builder: str = "html") -> int:
    """Stage and build below a folder; 1 where Sphinx warns of anything. ``dummy`` writes no pages."""
    from sphinx.cmd.build import build_main

    stage(site / "source")
    return build_main(["-q", "-W", "--keep-going", "-b", builder, str(site / "source"), str(site / builder)])


def main() -> int:
    """The site in build/site/html."""
    return build(SITE)


if __name__ == "__main__":
    sys.exit(main())
