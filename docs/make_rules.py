"""Write docs/rules.md: the checks of every event in their order, and what differs between kernels: make rules.

``tests/machine/test_rules_page.py`` holds the page to the code, and to what the machine says when it runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache

from docs.machine_rules import HOLE, ROOT, Reader, Section, modules
from layouts.arm64 import kernels as arm64
from layouts.kernels import Kernel
from layouts.x86 import kernels as x86

PAGE = ROOT / "docs/rules.md"

_HEAD = f"""\
# Rules

What every event is checked for, in the order of the checks, and what is answered where one does not hold. `make rules`
writes this page from the machine's code; edit that. A heading is the kernel's function or the manual's section, as
the outcome names it. `{HOLE}` stands for a number that the outcome tells. *by* names the fields of the
[kernel profiles](#what-differs-between-kernels) on which a check hangs, or the release (`emulated`: the host is an
emulator). Where no answer stands the check only tells, or the function goes another way; *fewer are done* is
KVM_SET_MSRS or KVM_GET_MSRS, which count so far. How a rule is written is in
[inspector/machine/\\_\\_init\\_\\_.py](../inspector/machine/__init__.py).
"""


@cache
def sections() -> list[Section]:
    """Every event, in the order of the files."""
    known, found = modules(), {}
    inlined: set[tuple[str, str]] = set()
    dispatched: dict[tuple[str, str], Section] = {}
    for module in known.values():
        for name, function in module.functions.items():
            section = Section(module.name, name, (ast.get_docstring(function) or "").partition("\n\n")[0])
            reader = Reader(known, module, section)
            reader.statements(function.body)
            found[module.name, name] = section
            inlined |= reader.inlined
            dispatched |= reader.dispatched
    events = [section for key, section in found.items() if section.rows and (key in dispatched or key not in inlined)]
    for section in events:
        caller = dispatched.get((section.module, section.function))
        if caller is not None:
            _answer_as(section, caller)
    return events


def _answer_as(section: Section, caller: Section) -> None:
    """Checks whose answer is their caller's."""
    answers = {row.answer for row in caller.rows if f"`{section.function}`" in row.text and row.answer}
    answer = answers.pop() if len(answers) == 1 else ""
    section.rows = [row if row.answer or row.is_told else replace(row, answer=answer) for row in section.rows]
    section.sources = section.sources or caller.sources


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_sections_text(), *_kernels_text()]).rstrip() + "\n"


def _sections_text() -> Iterator[str]:
    known, last = modules(), ""
    for section in sections():
        if section.module != last:
            last = section.module
            path = known[last].path.relative_to(ROOT)
            yield f"## {path.relative_to('inspector/machine').with_suffix('')}\n\n{known[last].about}\n"
        yield f"### {'; '.join(section.sources) or section.function}\n"
        about = " ".join(section.about.split())
        yield f"`{section.function}`{': ' if about else ''}{about}\n"
        yield "| | holds | else | by |\n|---|---|---|---|"
        for number, row in enumerate(section.rows, 1):
            text = row.text.replace("|", "\\|")
            switches = ", ".join(f"`{each}`" for each in row.switches)
            yield f"| {number} | {text} | {row.answer} | {switches} |"
        yield ""


def _kernels_text() -> Iterator[str]:
    yield "## What differs between kernels\n"
    yield "Single values of the profiles, each from the release on that is named; what they mean is told in"
    yield "`layouts/x86/kernels.py` and `layouts/arm64/kernels.py`. Tables by register: `inspector layouts kernels`.\n"
    every: dict[str, Mapping[str, Kernel]] = {"x86": x86.kernels(), "arm64": _arm64_kernels()}
    shared = set(Kernel.field_names())
    for architecture, kernels in every.items():
        yield f"### {architecture}\n\n| field | value |\n|---|---|"
        oldest = next(iter(kernels.values()))
        for each in oldest.field_names():
            if each not in shared and not isinstance(getattr(oldest, each), dict):
                yield f"| `{each}` | {'; '.join(_changes(each, kernels))} |"
        yield ""


def _arm64_kernels() -> dict[str, Kernel]:
    """The profiles by name, each with the stable updates that changed it behind it."""
    found: dict[str, Kernel] = {}
    for name, kernel in arm64.kernels().items():
        found |= {name: kernel, **{update: arm64.profile_for(update) for update in arm64.updates_of(kernel)}}
    return found


def _changes(name: str, kernels: Mapping[str, Kernel]) -> Iterator[str]:
    before: object = ...
    for release, kernel in kernels.items():
        value = getattr(kernel, name)
        if value != before:
            text = hex(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)
            if isinstance(value, tuple):
                text = ", ".join(hex(each) if isinstance(each, int) else str(each) for each in value)
            yield f"{release}: {text or 'none'}"
        before = value


if __name__ == "__main__":
    PAGE.write_text(page())
