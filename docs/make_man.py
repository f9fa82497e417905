"""Write docs/man/inspector.1 from the parsers and the guide: make man. The wheel installs it as share/man/man1."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from inspector import __version__
from inspector.cli.main import COMMANDS
from inspector.cli.parsers import options_of, parser_of, positionals_of, subparsers_of
from inspector.targets.schemes import SCHEMES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/man/inspector.1"
#: Of the version that the page names; a manual page has a date, and it must not change with each build.
_DATE = "2026-11-22"


def page() -> str:
    """The page, in the macros of man(7): groff and mandoc read it."""
    lines = [
        f'.TH INSPECTOR 1 "{_DATE}" "inspector {__version__}" "User Commands"',
        ".SH NAME",
        r"inspector \- what every bit of a vCPU's register state means, and what the kernel says",
        *_synopsis(),
        ".SH DESCRIPTION",
        *_paragraphs((ROOT / "README.md").read_text("utf-8").split("\n\n")[1]),
        ".SH COMMANDS",
        *(line for name in COMMANDS for line in _command(name)),
        ".SH TARGETS",
        *(line for scheme in SCHEMES for line in _tagged(rf"\fB{_text(scheme.form)}\fR", scheme.about)),
        ".SH EXIT STATUS",
        *(
            line
            for code, about in _rows("Exit codes", r"(\d[^|]*)")
            for line in _tagged(rf"\fB{_text(code)}\fR", about)
        ),
        ".SH FILES",
        *(
            line
            for path, about in _rows("What is remembered", "`(~[^`]*)`")
            for line in _tagged(rf"\fI{_text(path)}\fR", about)
        ),
        ".SH ENVIRONMENT",
        *(
            line
            for name, about in _rows("What is remembered", "`([A-Z_]+)`")
            for line in _tagged(rf"\fB{_text(name)}\fR", about)
        ),
        ".SH SEE ALSO",
        r"\fBgdb\fR(1), \fBstrace\fR(1), \fBcpuid\fR(1), \fBvirsh\fR(1), \fBqemu\fR(1)",
    ]
    return "\n".join(lines) + "\n"


def _synopsis() -> Iterator[str]:
    yield ".SH SYNOPSIS"
    yield r"\fBinspector\fR \fICOMMAND\fR [\fIARGUMENT\fR ...]"
    yield ".br"
    yield r"\fBinspector\fR \fITARGET\fR"
    yield ".br"
    yield r"\fBinspector\fR \fB\-\-help\fR | \fB\-\-version\fR"


def _command(name: str) -> Iterator[str]:
    parser = parser_of(name)
    own = subparsers_of(parser)
    yield f".SS {_usage(parser)}" if not own else f'.SS "inspector {name}"'
    yield from _paragraphs(_sentence(parser.description or ""), keep_lines="\n  " in (parser.description or ""))
    yield from _arguments(parser)
    for one in own.values():
        yield f".SS {_usage(one)}"
        yield from _paragraphs(_sentence(one.description or ""))
        yield from _arguments(one)
    examples, _, _ = (parser.epilog or "").partition("targets:\n")
    blocks = list(_epilog(examples))
    yield from [f'.SS "Examples of inspector {name}"', *blocks[1:]] if own else blocks


def _usage(parser: argparse.ArgumentParser) -> str:
    """A heading: the command and what it takes beside options."""
    words = []
    for action in positionals_of(parser):
        word = str(action.metavar or "|".join(action.choices or ()) or action.dest)
        word += " ..." if action.nargs in ("+", "*") else ""
        words.append(f"[{word}]" if action.nargs in ("?", "*") else word)
    return f'"{_text(" ".join((parser.prog, *words)))}"'


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser._get_formatter()
    for action in (*positionals_of(parser), *options_of(parser)):
        if not action.help or isinstance(action, argparse._HelpAction):
            continue
        names = ", ".join(rf"\fB{_text(name)}\fR" for name in action.option_strings)
        value = "|".join(str(choice) for choice in action.choices or () if choice) or action.metavar or action.dest
        shown = "" if action.option_strings and action.nargs == 0 else rf"\fI{_text(str(value))}\fR"
        yield from _tagged(" ".join(filter(None, (names, shown))), formatter._expand_help(action))


def _epilog(text: str) -> Iterator[str]:
    """Examples as they are typed, and paragraphs behind them."""
    for block in filter(None, re.split(r"\n\n|(?<=examples:)\n", text.strip())):
        if block == "examples:":
            continue
        yield from (".PP", ".nf", *map(_line, block.splitlines()), ".fi")


def _paragraphs(text: str, *, keep_lines: bool = False) -> Iterator[str]:
    """Text behind a heading, where man(7) wants no paragraph macro."""
    if keep_lines:
        yield from (".nf", *map(_line, text.splitlines()), ".fi")
    else:
        yield _line(" ".join(text.split()))


def _tagged(tag: str, about: str) -> Iterator[str]:
    yield ".TP"
    yield tag
    yield _line(about)


def _rows(section: str, first: str) -> Iterator[tuple[str, str]]:
    """The rows of a section of the guide whose first column is of such a form."""
    text = (ROOT / "docs/guide.md").read_text("utf-8").partition(f"## {section}\n")[2].partition("\n## ")[0]
    for word, about in re.findall(rf"^\| {first} \| (.*) \|$", text, re.MULTILINE):
        yield word, about.replace(r"\|", "|").replace("`", "")


def _sentence(text: str) -> str:
    """A description as a sentence; those of subcommands begin small and end with nothing."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', ':')) or len(text.splitlines()) > 1 else '.'}"


def _text(text: str) -> str:
    """Characters that roff takes for its own, as themselves."""
    return (
        text.replace("\\", r"\e")
        .replace("-", r"\-")
        .replace('"', r"\(dq")
        .replace("'", r"\(aq")
        .replace("^", r"\(ha")
        .replace("~", r"\(ti")
    )


def _line(text: str) -> str:
    """The same for a whole line, which may not begin as a request does."""
    found = _text(text).rstrip()
    return rf"\&{found}" if found.startswith((".", r"\(aq")) else found


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8")
