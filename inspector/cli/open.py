"""``inspector open``: the terminal interface."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from inspector.capture.errors import UsageError
from inspector.cli import arguments

if TYPE_CHECKING:
    from inspector.readers.options import Options
    from inspector.tui.base_app import BaseApp

#: Targets that are a scenario: the XSTATE lab steps through it.
SIMULATED = "sim:"
#: Targets that are a named CPU model on a host: the ID-register lab.
MODEL = "model:"
_EXAMPLES = """\
  inspector open core.1234
  inspector open sample:amx                      a folder of KVM structures
  inspector open xsave.bin --layout zen5
  inspector open sim:snapshot-einval             a scenario in the XSTATE lab
  inspector open model:neoverse-v1-v1:max        a CPU model on a host in the ID-register lab
  inspector open model:host:guest.regs           what else the host of a captured arm64 vCPU could give
  inspector open regs.bin --as kvm-regs"""


def run(words: Sequence[str]) -> int:
    """Open a target; the exit code says whether it could be read."""
    parser = arguments.parser("open", "Open a capture in the terminal interface.", _EXAMPLES)
    arguments.add_target(parser)
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    found = parser.parse_args(words)
    if not sys.stdout.isatty():
        raise UsageError("open needs a terminal; inspector show prints the same as text")
    options = arguments.options_of(found)
    app = app_of(found.target, options)
    app.run(mouse=not found.no_mouse)
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0


def app_of(target: str, options: Options | None = None) -> BaseApp:
    """The application for a target: the lab for a scenario, else Inspect. Raises UsageError."""
    if target.startswith(SIMULATED):
        from inspector.cli.sim import scenario_of, world_of
        from inspector.tui.lab_app import LabApp

        scenario = scenario_of(target.removeprefix(SIMULATED))
        return LabApp(world_of(scenario), scenario)
    if target.startswith(MODEL):
        from inspector.cli.models import workbench_of
        from inspector.tui.lab_app import IdLabApp

        return IdLabApp(workbench_of(target.removeprefix(MODEL)))
    from inspector.readers.options import check_layout
    from inspector.tui.app import InspectorApp

    check_layout(options.layout if options is not None else "")
    return InspectorApp(target, options)
