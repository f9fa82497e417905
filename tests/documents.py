"""The commands that pages of the documentation show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
#: A command of a block: indented or in a shell block, with a prompt or without; it goes on behind a backslash.
_COMMAND = re.compile(r"^(?: {4})?(?:\$ )?inspector (.*)$")
_NEEDS = re.compile(r"^needs (a stub|a monitor|a process|/dev/kvm(?: of x86)?)\b")


class Example(NamedTuple):
    """A command of a page: its words, what must be there for it (``a stub``), the exit code that it says."""

    page: str
    text: str
    needs: str
    exit_code: int

    @property
    def words(self) -> list[str]:
        """The arguments."""
        return shlex.split(self.text)


def examples_of(page: str) -> list[Example]:
    """The commands of a page's blocks, in order."""
    found = []
    text = re.sub(r"\\\n\s*", "", (ROOT / page).read_text("utf-8"))
    in_block = False
    for line in text.splitlines():
        if line.startswith("```"):
            in_block = not in_block
        command = _COMMAND.match(line) if in_block or line.startswith("    ") else None
        if command is None:
            continue
        words, _, comment = command[1].partition(" #")
        needs = _NEEDS.match(comment.strip())
        code = int(comment.strip() == "exit code 1")
        found.append(Example(page, words.strip(), needs[1] if needs else "", code))
    return found


def live_examples() -> list[Example]:
    """The commands of all pages that need something which runs."""
    pages = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
    return [one for page in pages for one in examples_of(str(page.relative_to(ROOT))) if one.needs]
