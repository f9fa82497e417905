"""``inspector open``: the terminal interface."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from inspector.capture.errors import UsageError
from inspector.cli import arguments

_EXAMPLES = """\
  inspector open core.1234
  inspector open sample:amx                      a folder of KVM structures
  inspector open xsave.bin --layout zen5
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
    from inspector.readers.options import check_layout
    from inspector.tui.app import InspectorApp

    check_layout(options.layout)
    app = InspectorApp(found.target, options)
    app.run(mouse=not found.no_mouse)
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0
