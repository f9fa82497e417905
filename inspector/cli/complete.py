"""``inspector complete -- WORDS``: what the last word can become; the scripts of ``inspector completion`` call it.

It starts fast: commands and options are a table, ``options.json``, which ``docs/make_options.py`` writes from the
parsers, and names come from the declarations; no machine is imported. A line printed is a word, a tab and what it is.
A word that ends in ``.``, ``:``, ``/`` or ``=`` goes on, so no space belongs behind it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from inspector.capture.errors import InspectorError
from inspector.capture.exit_code import ExitCode
from inspector.cli.candidates import Asked, Candidate, candidates
from inspector.cli.streams import say, say_columns
from layouts.light import cache

#: What bash takes for words of their own: only what is behind the last of them is replaced.
_SPECIAL = re.compile(r"([\s'\"\\()\[\]{}$&;<>|*?!#`])")


def run(words: Sequence[str]) -> int:
    """Print the candidates: of ``-- WORDS``, or of ``--line LINE BREAKS`` of bash. What cannot be told is not."""
    try:
        if words[:1] == ["--line"]:
            say(*_in_bash(words[1], words[2]))
        else:
            for candidate in completed(words[1:]):
                say_columns(*candidate)
    except (InspectorError, OSError):
        pass
    return ExitCode.OK


def completed(words: Sequence[str]) -> list[Candidate]:
    """What the last of these words, those behind ``inspector``, can become."""
    *before, current = words or [""]
    if not before:
        commands = [Candidate(name, one["about"]) for name, one in table().items()]
        return _starting([*commands, *candidates("TARGET", Asked("open", current))], current)
    command = before.pop(0)
    entry = table().get(command)
    if entry is None:
        before.insert(0, command)
        command, entry = "open", table()["open"]
    own = entry.get("commands", {})
    if own and before and before[0] in own:
        entry, command = own[before[0]], f"{command} {before.pop(0)}"
    elif own and not current.startswith("-"):
        return _starting([Candidate(name, one["about"]) for name, one in own.items()], current)
    return _starting(_of_command(command, entry, before, current), current)


@cache
def table() -> dict[str, Any]:
    """Options and positionals of every command."""
    text = files("inspector.cli").joinpath("options.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _of_command(command: str, entry: dict[str, Any], before: Sequence[str], current: str) -> list[Candidate]:
    options = {name: (key, one) for key, one in entry["options"].items() for name in key.split("/")}
    waiting, given, named = "", [], {}
    for word in before:
        if waiting:
            named[waiting], waiting = word, ""
        elif word.startswith("-") and word != "-":
            name, equals, value = word.partition("=")
            if "value" in options.get(name, ("", {}))[1]:
                waiting = "" if equals else name
                named[name] = value
        else:
            given.append(word)
    asked = Asked(command, current, tuple(given), named)
    if waiting:
        return _values(options[waiting][1], options[waiting][0], asked)
    name, equals, value = current.partition("=")
    if equals and "value" in options.get(name, ("", {}))[1]:
        found = _values(options[name][1], options[name][0], asked._replace(current=value))
        return [Candidate(f"{name}={word}", about) for word, about in found]
    if current.startswith("-") and current != "-":
        return [Candidate(name, one["help"]) for name, (_, one) in options.items()]
    positionals = entry["positionals"]
    if len(given) < len(positionals):
        return _values(positionals[len(given)], "", asked)
    if positionals and positionals[-1]["again"]:
        return _values(positionals[-1], "", asked)
    return []


def _values(argument: dict[str, Any], option: str, asked: Asked) -> list[Candidate]:
    if "choices" in argument:
        return [Candidate(choice, "") for choice in argument["choices"]]
    return candidates(argument["value"], asked._replace(option=option))


def _starting(found: Sequence[Candidate], current: str) -> list[Candidate]:
    seen = dict.fromkeys(one for one in found if one.word.startswith(current) and one.word != current)
    return list({one.word: one for one in seen}.values())


def _in_bash(line: str, breaks: str) -> Iterator[str]:
    """Words for COMPREPLY: bash replaces what is behind the last of its breaks, and quotes nothing by itself."""
    words, in_quotes = _words(line)
    word = words[-1]
    kept = max((word.rfind(sign) for sign in breaks if sign in ":=@"), default=-1) + 1
    for one, _ in completed(words[1:]):
        rest = one[kept:]
        yield rest if in_quotes else _SPECIAL.sub(r"\\\1", rest)


def _words(line: str) -> tuple[list[str], bool]:
    """The words of a line up to the cursor, and whether the last is in quotes that are open."""
    for closing in ("", "'", '"'):
        try:
            words = shlex.split(line + closing)
        except ValueError:
            continue
        if not closing and (line[-1:].isspace() or not words):
            words.append("")
        return words, bool(closing)
    return [*line.split(), ""], False
