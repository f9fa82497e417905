"""``inspector screenshot``: a picture of a screen, without a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from inspector.capture.errors import UsageError
from inspector.capture.model import Capture
from inspector.cli import arguments
from inspector.cli.files import save
from inspector.cli.open import MODEL, SIMULATED, app_of
from inspector.readers.open import open_capture

_EXAMPLES = """\
  inspector screenshot core.1234 -o bug.svg
  inspector screenshot sample:amx/process.core --field 'xsave.xtiledata.tmm[0]' --size 160x45 -o tiles.png"""


def run(words: Sequence[str]) -> int:
    """Take one picture."""
    parser = arguments.parser("screenshot", "Save a picture of a screen: SVG, PNG, HTML or text.", _EXAMPLES)
    arguments.add_target(parser)
    parser.add_argument("--screen", default="inspect", choices=("inspect", "help"), help="which screen")
    parser.add_argument("--size", default="120x36", metavar="WxH", help="columns and lines (default 120x36)")
    parser.add_argument("--vcpu", type=int, metavar="N", help="select this vCPU")
    parser.add_argument("--field", default="", metavar="PATH", help="select this field")
    parser.add_argument("--press", default="", metavar="KEYS", help="keys to press first, separated by commas")
    parser.add_argument("--theme", default="", metavar="NAME", help="colours")
    parser.add_argument("-o", "--output", required=True, metavar="PATH", help="ends in .svg, .png, .html or .txt")
    found = parser.parse_args(words)
    size = _size(found.size)
    options = arguments.options_of(found)
    capture = None
    if not found.target.startswith((SIMULATED, MODEL)):
        capture = open_capture(found.target, options)
        arguments.choose_vcpus(capture, found.vcpu)
        if found.field:
            _check_field(capture, found.vcpu, found.field)
    from inspector.tui.picture import check_keys, photograph, suffix_of

    suffix = suffix_of(found.output)
    app = app_of(found.target, options, capture)
    if found.theme:
        if found.theme not in app.available_themes:
            raise UsageError(f"--theme {found.theme}: there are {', '.join(sorted(app.available_themes))}")
        app.theme = found.theme
    keys = _typed(f"#{found.vcpu}") if found.vcpu is not None else []
    keys += _typed(found.field) if found.field else []
    pressed = [key for key in found.press.split(",") if key]
    check_keys(pressed)
    keys += pressed
    keys += ["question_mark"] if found.screen == "help" else []
    pictures = photograph(app, size, keys, [suffix])
    if app.failure:
        raise app.failure
    save(found.output, lambda out: out.write(pictures[suffix]))
    print(found.output, file=sys.stderr)
    return arguments.tell(capture) if capture is not None else 0


def _check_field(capture: Capture, vcpu: int | None, path: str) -> None:
    """Raises UsageError for a field that the screen could not go to."""
    from inspector.tui.session import Session

    session = Session(capture)
    session.select_vcpu(vcpu if vcpu is not None else session.vcpu_number)
    if not session.jump(path):
        raise UsageError(f"--field {path}: no such path or offset in {capture.target}")


def _typed(text: str) -> list[str]:
    """The keys that go to a place: the prompt, the letters, Enter."""
    return ["colon", *text, "enter"]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and 20 <= int(width) <= 1000 and 5 <= int(height) <= 1000):
        raise UsageError(f"--size {text}: expected columns x lines, as in 80x24")
    return int(width), int(height)
