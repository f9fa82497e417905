"""The parser of a command, without running it: for completion, the manual page and the reference."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from inspector.cli.main import COMMANDS
from inspector.cli.parser import PARSER_ALONE, ParserMade
from layouts.light import import_module


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser that a command makes of its words, before it looks at any."""
    try:
        import_module(f"inspector.cli.{COMMANDS[command][0]}").run([PARSER_ALONE])
    except ParserMade as made:
        return made.parser
    raise AssertionError(f"{command} runs without a parser")


def subparsers_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a command's own commands, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def options_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The options of a parser in their order."""
    return (action for action in parser._actions if action.option_strings)


def positionals_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """What a parser takes beside options, without its own commands."""
    for action in parser._actions:
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
            yield action


def table() -> dict[str, Any]:
    """What completion knows of every command without making its parser: see inspector/cli/complete.py."""
    return {name: {"about": about, **_entry(parser_of(name))} for name, (_, about) in COMMANDS.items()}


def _entry(parser: argparse.ArgumentParser) -> dict[str, Any]:
    options = {
        "/".join(action.option_strings): {"help": action.help or ""} | _value(action) for action in options_of(parser)
    }
    positionals = [_value(action) | {"again": action.nargs in ("+", "*")} for action in positionals_of(parser)]
    own = subparsers_of(parser)
    entry: dict[str, Any] = {"options": options, "positionals": positionals}
    if own:
        entry["commands"] = {name: {"about": one.description, **_entry(one)} for name, one in own.items()}
    return entry


def _value(action: argparse.Action) -> dict[str, Any]:
    """What an argument's word is: the name that help gives it, and its choices. Empty for an option without a word."""
    if action.nargs == 0:
        return {}
    choices = [str(choice) for choice in action.choices or () if choice]
    return {"value": str(action.metavar or action.dest)} | ({"choices": choices} if choices else {})
