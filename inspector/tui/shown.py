"""Text from files before it is painted: visible, and what nobody made visible never reaches the terminal."""

from __future__ import annotations

import re
from itertools import accumulate

from rich.cells import cell_len
from rich.segment import Segment
from rich.text import Span, Text
from textual.color import Color
from textual.filter import LineFilter

from inspector.capture.errors import visible
from inspector.capture.plain import plain

#: Controls of the terminal and of writing direction, ends of lines, lone surrogates.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible_text(text: Text) -> Text:
    """A text with everything but its line ends made visible; its styles stay where they were."""
    if text.plain.replace("\n", "").isprintable():
        return text
    shown = [letter if letter == "\n" else visible(letter) for letter in text.plain]
    at = [0, *accumulate(map(len, shown))]
    spans = [Span(at[span.start], at[min(span.end, len(shown))], span.style) for span in text.spans]
    return Text("".join(shown), style=text.style, spans=spans)


class Guard(LineFilter):
    """The last door: whatever a widget paints, no control character leaves the program, as text or in a picture."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """See LineFilter. The line keeps its width."""
        if all(segment.text.isprintable() for segment in segments):
            return segments
        return [Segment(_CONTROLS.sub(_stand_in, s.text), s.style, s.control) for s in segments]


class Plain(LineFilter):
    """For terminals that show ASCII alone: signs become such that look like them. The line keeps its width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """See LineFilter."""
        if all(segment.text.isascii() for segment in segments):
            return segments
        return [Segment(plain(s.text), s.style, s.control) for s in segments]


def _stand_in(found: re.Match[str]) -> str:
    return "\N{REPLACEMENT CHARACTER}" * cell_len(found[0])
