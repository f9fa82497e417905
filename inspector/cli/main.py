"""``inspector COMMAND ...``: find the command, run it, turn errors into one line.

Only the command that was asked for is imported. Exit codes: 0 fine, 1 a difference or a
refusal, 2 bad usage, 3 unreadable input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from inspector import __version__
from inspector.capture.errors import InspectorError

#: Commands: module under ``inspector.cli``, and what it does.
COMMANDS = {
    "open": ("open", "open a capture in the terminal interface"),
    "show": ("show", "print the same state as text or JSON"),
    "convert": ("convert", "write a capture in another format"),
    "screenshot": ("screenshot", "a picture of a screen, for bug reports"),
    "sim": ("sim", "let events happen to a simulated host and vCPU"),
    "set": ("set", "edit fields, and see what a kernel says to the edited state"),
    "models": ("models", "named CPU models of arm64, on a host or on many"),
    "migrate": ("migrate", "would an arm64 vCPU arrive on another host, and if not, which field"),
    "verify": ("verify", "recorded kernel answers against the simulated machine"),
    "layouts": ("layouts", "what the tool knows: structures, components, CPUs"),
    "samples": ("samples", "the captures that come with the tool"),
}


def usage() -> str:
    """The text of ``inspector --help``."""
    lines = [f"  {name:<11} {about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join(
        (
            "usage: inspector COMMAND ...   (inspector COMMAND --help tells more)",
            "",
            "Open captured vCPU state, and see what every bit means.",
            "",
            *lines,
            "",
            "examples:",
            "  inspector open core.1234                 read a core file in the terminal",
            "  inspector open sample:amx/process.core   a capture that comes with the tool",
            "  inspector show core.1234 --field 'xsave.zmm[*]' --json",
            "",
            "  inspector TARGET is short for inspector open TARGET.",
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        print(f"inspector {__version__}")
        return 0
    if words[0] not in COMMANDS:
        if not _is_target(words[0]):
            print(f"inspector: no command {words[0]!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
            return 2
        words.insert(0, "open")
    return _run(words)


def _is_target(word: str) -> bool:
    """A word that is no command but something to open."""
    return word == "-" or ":" in word or os.path.exists(word)


def _run(words: list[str]) -> int:
    module = import_module(f"inspector.cli.{COMMANDS[words[0]][0]}")
    try:
        code = int(module.run(words[1:]))
        sys.stdout.flush()
    except InspectorError as error:
        print(f"inspector: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output is gone (| head): not an error, and nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return code
