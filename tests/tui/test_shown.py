"""Text before it is painted: styles stay with their letters, and nothing that nobody made visible gets through."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from rich.text import Text
from textual.color import Color

from inspector.tui.shown import Guard, visible_text

BLACK = Color(0, 0, 0)


def test_styles_stay_with_their_letters() -> None:
    text = Text.assemble(("a\x1bb", "bold"), "\n", ("\u202e", "red"), "end")
    shown = visible_text(text)
    assert shown.plain == "a\\x1bb\n\\u202eend"
    assert [(shown.plain[s.start : s.end], s.style) for s in shown.spans] == [("a\\x1bb", "bold"), ("\\u202e", "red")]


def test_text_that_is_fine_stays_itself() -> None:
    text = Text("· ≠ ● 漢\nsecond line")
    assert visible_text(text) is text


def test_the_guard_keeps_the_width() -> None:
    segments = [Segment("a\x1b[31m\x07"), Segment("b\u202e\ud800\xa0漢")]
    guarded = Guard().apply(segments, BLACK)
    text = "".join(segment.text for segment in guarded)
    assert text.replace("\ufffd", "") == "a[31mb\xa0漢"
    assert cell_len(text) == cell_len("".join(segment.text for segment in segments))
