"""``inspector screenshot``: a picture of a screen, without a terminal."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.capture.model import Capture
from inspector.capture.nearest import did_you_mean
from inspector.cli import arguments
from inspector.cli.open import add_destination, application
from inspector.cli.streams import note
from inspector.export.files import save_bytes
from inspector.targets.schemes import capture_of, scheme_of

if TYPE_CHECKING:
    import argparse


_EXAMPLES = """\
  inspector screenshot core.1234 -o bug.svg
  inspector screenshot before.core after.core -o differs.png
  inspector screenshot -o start.png              the start screen, without what was opened before
  inspector screenshot sample:amx --to milan@6.18 --size 120x36 -o move.png
  inspector screenshot sample:amx/process.core --field 'xsave.xtiledata.tmm[0]' --size 160x45 -o tiles.png"""

_NUMBER = re.compile("[0-9]{1,4}")


def run(words: Sequence[str]) -> int:
    """Take one picture."""
    parser = arguments.parser("screenshot", "Save a picture of a screen: SVG, PNG, HTML or text.", _EXAMPLES)
    arguments.add_targets(parser, at_least=0)
    add_destination(parser)
    parser.add_argument("--screen", default="inspect", choices=("inspect", "help"), help="which screen")
    parser.add_argument("--size", default="120x36", metavar="WxH", help="columns and lines (default 120x36)")
    parser.add_argument("--vcpu", type=int, metavar="N", help="select this vCPU")
    parser.add_argument("--field", default="", metavar="PATH", help="select this field")
    parser.add_argument(
        "--press", default=[], action="append", metavar="KEYS", help="keys to press first, separated by commas"
    )
    parser.add_argument("--theme", default="", metavar="NAME", help="colours")
    parser.add_argument("-o", "--output", required=True, metavar="PATH", help="ends in .svg, .png, .html or .txt")
    found = parser.parse_args(words)
    from inspector.tui.picture import check_keys, photograph, suffix_of

    size, suffix = _size(found.size), suffix_of(found.output)
    pressed = [key for keys in found.press for key in keys.split(",") if key]
    check_keys(pressed)
    is_one = len(found.targets) == 1 and not found.to and not scheme_of(found.targets[0]).opens_lab
    capture = _opened(found, found.targets[0]) if is_one else None
    if capture is None and (found.field or (found.vcpu is not None and not found.to)):
        raise UsageError("--field and --vcpu are for one capture; --press has the keys of other screens")
    app = application(found, arguments.options_of(found), capture)
    if found.theme:
        if found.theme not in app.available_themes:
            hint = did_you_mean(found.theme, app.available_themes, "the palette (Ctrl-P)")
            raise UsageError(f"--theme {found.theme}: no such theme; {hint}")
        app.theme = found.theme
    keys = _typed(f"#{found.vcpu}") if found.vcpu is not None and not found.to else []
    keys += _typed(found.field) if found.field else []
    keys += [*pressed, "question_mark"] if found.screen == "help" else pressed
    with _ends_at_once():
        pictures = photograph(app, size, keys, [suffix])
    if app.failure:
        raise app.failure
    save_bytes(found.output, pictures[suffix])
    note(found.output)
    return arguments.tell(capture) if capture is not None else ExitCode.OK


@contextmanager
def _ends_at_once() -> Iterator[None]:
    """Ctrl-C ends the program here and now: nothing is written yet, and a half-built screen cannot be unwound."""
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(ExitCode.INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _opened(found: argparse.Namespace, target: str) -> Capture:
    """The capture, with the vCPU and the field that are to be selected. Raises UsageError when they are not there."""
    from inspector.tui.session import Session

    capture = capture_of(target, arguments.options_of(found))
    arguments.choose_vcpus(capture, found.vcpu)
    session = Session(capture)
    if found.vcpu is not None:
        session.select_vcpu(found.vcpu)
    if found.field and not session.jump(found.field):
        raise UsageError(f"--field {found.field}: no such path, offset or vCPU")
    return capture


def _typed(text: str) -> list[str]:
    """The keys that go to a place: the prompt, the letters, Enter."""
    return ["colon", *text, "enter"]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (_NUMBER.fullmatch(width) and _NUMBER.fullmatch(height)) or not (
        20 <= int(width) <= 1000 and 5 <= int(height) <= 1000
    ):
        raise UsageError(f"--size {text}: expected columns x lines, as in 80x24")
    return int(width), int(height)
