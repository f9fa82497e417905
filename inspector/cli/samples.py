"""``inspector samples``: the captures that come with the tool."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.capture.errors import InspectorError
from inspector.capture.exit_code import ExitCode
from inspector.capture.nearest import did_you_mean
from inspector.cli import arguments
from inspector.cli.streams import say
from inspector.targets import samples

_EXAMPLES = """\
  inspector samples
  inspector samples amx
  inspector samples arm64 core"""


def run(words: Sequence[str]) -> int:
    """List the samples."""
    parser = arguments.parser("samples", "List the captures that come with the tool.", _EXAMPLES)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only samples with all these words in name or text")
    wanted = [word.lower() for word in parser.parse_args(words).words]
    lines = {f"{samples.SCHEME}{name}": about for name, about in samples.abouts().items()}
    shown = {name: about for name, about in lines.items() if all(word in f"{name} {about}".lower() for word in wanted)}
    if not shown:
        hint = did_you_mean(wanted[0], samples.names(), "inspector samples")
        raise InspectorError(f"samples {' '.join(wanted)}: none of the {len(lines)} samples has that; {hint}")
    width = max(map(len, shown))
    say(*(f"{name:<{width}}  {about}" for name, about in shown.items()))
    return ExitCode.OK
