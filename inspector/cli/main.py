"""``inspector COMMAND ...``: find the command, run it, turn errors into one line.

Only the command that was asked for is imported. Exit codes are those of inspector/capture/exit_code.py. A reader
that has seen enough (``| head``) is no error, for any command.
"""

from __future__ import annotations

import gc
import sys

from inspector import __version__
from inspector.capture.errors import InputError, UsageError
from inspector.capture.exit_code import ExitCode
from inspector.cli import streams
from inspector.cli.streams import say

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Objects made, less those given back, between two looks for circles of them (Python's own number is 700): fields and
#: notes come by the 100,000 and have no circles.
_COLLECT_AFTER = 50_000

#: Commands: module under ``inspector.cli``, and what it does.
COMMANDS = {
    "open": ("open", "open a capture in the terminal interface"),
    "tour": ("tour", "both labs in five minutes, in the terminal"),
    "show": ("show", "print the same state as text or JSON"),
    "diff": ("diff", "what differs between states, field by field"),
    "lint": ("lint", "does a state contradict itself, and what happens then"),
    "explain": ("explain", "what a code of lint, or a message of a VMM, means"),
    "convert": ("convert", "write a capture in another format"),
    "report": ("report", "one file for a bug tracker, without what it should not tell"),
    "serve": ("serve", "the same application in a browser (an optional extra)"),
    "screenshot": ("screenshot", "a picture of a screen: SVG, PNG, HTML or text"),
    "sim": ("sim", "let events happen to a simulated host and vCPU"),
    "set": ("set", "edit fields, and see what a kernel says to the edited state"),
    "reproduce": ("reproduce", "a C program that makes a refused call again, or restores a capture"),
    "models": ("models", "named CPU models of x86 and arm64, on a host or on many"),
    "migrate": ("migrate", "would a vCPU arrive on another host, and if not, which call and field"),
    "fleet": ("fleet", "thousands of hosts and guests: who can move where, what splits them"),
    "record": ("record", "ask this machine's KVM, and write its answers for verify"),
    "verify": ("verify", "recorded kernel answers against the simulated machine"),
    "layouts": ("layouts", "what the tool knows: structures, components, registers, CPUs, kernels"),
    "samples": ("samples", "the captures that come with the tool"),
    "completion": ("completion", "a shell's script that completes commands, options, targets and fields"),
}
#: What the scripts of completion call: no command for people.
COMPLETE = "complete"


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
            "  inspector TARGET is short for inspector open TARGET; inspector alone lists what there is.",
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: the one place where an exception becomes a line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    streams.prepare()
    try:
        try:
            return _command(words)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        streams.drop_output()
        return ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the boundary: told() says which are bugs of ours
        if _is_interrupt(error):
            return ExitCode.INTERRUPTED
        return _tell(error)


def _command(words: list[str]) -> int:
    if words[:1] == ["--no-state"] or (not words and streams.is_terminal()):
        words.insert(0, "open")
    if not words or words[0] in ("-h", "--help", "help"):
        say(*usage().splitlines())
        return ExitCode.OK if words else ExitCode.USAGE
    if words[0] in ("-V", "--version"):
        say(f"inspector {__version__}")
        return ExitCode.OK
    if words[0] == COMPLETE:
        from inspector.cli.complete import run

        return run(words[1:])
    if words[0] not in COMMANDS:
        _check_target(words[0])
        words.insert(0, "open")
    from layouts.light import import_module

    # Modules stay: nothing of them is looked at while they are made, nor later.
    gc.disable()
    command = import_module(f"inspector.cli.{COMMANDS[words[0]][0]}")
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    gc.enable()
    return int(command.run(words[1:]))


def _check_target(word: str) -> None:
    """A word that is no command has to be something to open. Raises UsageError, or InputError for a file's name."""
    from inspector.targets.schemes import is_target

    if is_target(word):
        return
    if "." in word or "/" in word:
        raise InputError(word, "a readable file", "no such file")
    from inspector.capture.nearest import did_you_mean

    raise UsageError(f"no command {word!r}; {did_you_mean(word, COMMANDS, 'inspector --help')}")


def _is_interrupt(error: BaseException | None) -> bool:
    """Python 3.11 makes a RuntimeError of a Ctrl-C that comes while a class is made.

    Causes may form a ring (``raise error from error``): each is looked at once.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.append(error)
        error = error.__cause__
    return False


def _tell(error: Exception) -> int:
    """One line for people; the exit code that goes with it."""
    from inspector.capture.bug import told

    line = told(error)
    if isinstance(error, OSError):
        streams.drop_output()
    streams.note(f"inspector: {line}")
    return line.exit_code
