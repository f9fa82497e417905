"""``inspector open``: the terminal interface."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from inspector.capture.errors import UsageError
from inspector.cli import arguments
from inspector.targets.schemes import capture_of, lab_of, scheme_of

if TYPE_CHECKING:
    import argparse

    from inspector.capture.model import Capture
    from inspector.cli.parser import Parser
    from inspector.readers.options import Options
    from inspector.tui.base_app import BaseApp

#: The target that is read from a pipe.
STANDARD_INPUT = "-"
_EXAMPLES = """\
  inspector open                                 recent files, samples, scenarios, hosts to choose from
  inspector open core.1234
  inspector open sample:amx                      a folder of KVM structures
  zcat core.gz | inspector open -                standard input; keys come from the terminal
  inspector open xsave.bin --layout zen5
  inspector open sim:snapshot-einval             a scenario in the XSTATE lab
  inspector open model:neoverse-v1-v1:max        a CPU model on a host in the ID-register lab
  inspector open model:host:grace,graviton3      two hosts: what is accepted on both, would the guest move
  inspector open model:host:guest.regs           what else the host of a captured arm64 vCPU could give
  inspector open regs.bin --as kvm-regs
  inspector open sample:amx --to milan@6.18      would its vCPU arrive there: calls, bits, what to change
  inspector open before.bin after.bin            side by side: what differs; three or more: T is time"""


def run(words: Sequence[str]) -> int:
    """Open a target, or several side by side; the exit code says whether they could be read."""
    parser = arguments.parser("open", "Open captures in the terminal interface.", _EXAMPLES)
    arguments.add_targets(parser, at_least=0)
    add_destination(parser)
    add_terminal(parser)
    found = parser.parse_args(words)
    options = arguments.options_of(found)
    from inspector.tui import terminal

    if terminal.is_browser():
        return _in_browser(application(found, options))
    return in_terminal(lambda: application(found, options), found, reads_input=STANDARD_INPUT in found.targets)


def add_terminal(to: Parser) -> None:
    """What every command takes that shows a screen in the terminal."""
    to.add_argument("--no-state", action="store_true", help="remember nothing, and forget it for this run")
    to.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")


def in_terminal(make: Callable[[], BaseApp], found: argparse.Namespace, *, reads_input: bool = False) -> int:
    """Run what ``make`` makes in the terminal, with the options of :func:`add_terminal`; the exit code.

    ``reads_input``: it reads standard input. Raises UsageError where no screen can be shown, and why a target cannot be
    read.
    """
    from inspector.tui import terminal

    terminal.require_screen()
    keys = terminal.keys_of_terminal(reads_input=reads_input)
    # What is made for the first frame stays: nobody looks for garbage in it until it is there (BaseApp.on_ready).
    gc.disable()
    try:
        # Read before the screen is shown: keys and capture would come on one stream, and Ctrl-C ends a slow pipe.
        app = make()
        terminal.take_keys(keys)
        code = terminal.run(app, mouse=not found.no_mouse, has_state=not found.no_state)
    finally:
        gc.enable()
    if app.failure is not None:
        raise app.failure
    return code


def application(found: argparse.Namespace, options: Options, capture: Capture | None = None) -> BaseApp:
    """The application that the arguments ask for; ``capture`` is the one target where it has been read already.

    Raises UsageError and InputError.
    """
    if not found.targets:
        if found.to:
            raise UsageError(f"--to {found.to}: expected the TARGET that moves")
        from inspector.tui.start import StartApp

        return StartApp(options)
    if found.to:
        return migrating(found, found.targets, options)
    if len(found.targets) > 1:
        return comparing(found.targets, options)
    (target,) = found.targets
    if target == STANDARD_INPUT and capture is None:
        capture = capture_of(target, options)
    return app_of(target, options, capture, found.abi)


def add_destination(to: Parser) -> None:
    """``--to HOST``, and how a VMM restores the vCPU there."""
    to.add_argument("--to", default="", metavar="HOST", help="the migration of its vCPU to a host (inspector migrate)")
    arguments.add_move(to)


def migrating(found: argparse.Namespace, targets: Sequence[str], options: Options) -> BaseApp:
    """The application for a move, which is asked about here. Raises UsageError and InputError."""
    from inspector.targets.moves import Move
    from inspector.tui.door import MigrationApp
    from inspector.tui.migrations import session_of

    if len(targets) > 1:
        raise UsageError(f"--to {found.to}: one vCPU moves; expected one TARGET, found {len(targets)}")
    said = {name: getattr(found, name) for name in Move._fields if name not in ("source", "destination")}
    return MigrationApp(session_of(Move(targets[0], found.to, **said), options, getattr(found, "vcpu", None) or 0))


def _in_browser(app: BaseApp) -> int:
    """Run for a page of ``inspector serve``: it has neither a terminal nor signals of one."""
    app.run()
    return app.return_code or 0


def app_of(target: str, options: Options | None = None, capture: Capture | None = None, abi: str = "merged") -> BaseApp:
    """The application for a target: its lab where ``open`` shows that, else Inspect.

    ``capture`` is the target where it has been read already, ``abi`` SVE's interface in the ID-register lab. Raises
    UsageError and InputError.
    """
    options = options or arguments.TOLD
    if scheme_of(target).opens_lab:
        from inspector.targets.labs import FleetLab
        from inspector.tui.door import FleetApp, LabApp
        from inspector.tui.labs import session_with_abi

        lab = lab_of(target, options)
        if isinstance(lab, FleetLab) and abi == "merged":
            return FleetApp(lab.store)
        app = LabApp(session_with_abi(lab, abi))
        app.target = target
        return app
    if abi != "merged":
        raise UsageError(f"--abi {abi}: {target} opens no lab that has it; it goes with model: and with --to")
    from inspector.readers.options import check_layout
    from inspector.tui.app import InspectorApp

    check_layout(options.layout)
    return InspectorApp(target, options, capture)


def comparing(targets: Sequence[str], options: Options | None = None) -> BaseApp:
    """The application for captures side by side, which are read here. Raises UsageError and InputError."""
    from inspector.readers.options import check_layout
    from inspector.tui.door import CompareApp
    from inspector.tui.session import Session

    options = options or arguments.TOLD
    check_layout(options.layout)
    # --layout and --as are for those that are files.
    told = [options if scheme_of(target).is_file else arguments.TOLD for target in targets]
    pairs = zip(targets, told, strict=True)
    return CompareApp([Session(capture_of(target, one), one) for target, one in pairs])
