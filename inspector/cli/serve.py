"""``inspector serve``: the same application in a browser."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.cli import arguments
from inspector.cli.streams import note
from inspector.targets.schemes import capture_of, lab_of, scheme_of

_ABOUT = """\
The same application in a browser, by textual-serve (pip install 'vcpu-inspector[serve]'). It listens on this machine
only, and answers only the pages that it served itself. Whoever reaches it can open every file that you can."""

_EXAMPLES = """\
  inspector serve core.1234
  inspector serve sim:guest-xfd --port 9000"""

_MAX_PORT = 65535
_ANY = ("0.0.0.0", "::", "*", "")  # noqa: S104 - refused


def run(words: Sequence[str]) -> int:
    """Serve a target until Ctrl-C."""
    parser = arguments.parser("serve", _ABOUT, _EXAMPLES)
    arguments.add_target(parser)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="which port (default 8000)")
    found = parser.parse_args(words)
    if not 1 <= found.port <= _MAX_PORT:
        raise UsageError(f"--port {found.port}: a port is 1 to {_MAX_PORT}")
    if found.host in _ANY:
        raise UsageError(f"--host {found.host}: name one address of this machine, which the page is then asked for by")
    if found.target == "-":
        raise UsageError("serve: standard input can be read once, and each page reads its target; expected a file")
    # What cannot be read is told here, not in every page.
    if scheme_of(found.target).capture:
        arguments.tell(capture_of(found.target, arguments.options_of(found)))
    else:
        lab_of(found.target, arguments.options_of(found))
    from inspector.tui.serve import is_loopback, serve

    if not is_loopback(found.host):
        note(f"inspector: {found.host} is reached by others: who reaches it can open every file that you can")
    options = [word for name in ("layout", "as") if (value := _option(found, name)) for word in (f"--{name}", value)]
    serve([*options, "--", found.target], found.host, found.port, lambda line: note(f"inspector: {line}"))
    return ExitCode.OK


def _option(found: object, name: str) -> str:
    return str(getattr(found, "as_format" if name == "as" else name))
