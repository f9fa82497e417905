"""What a Fleet screen says: everything about the selected line, and how far the work is."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from inspector.capture.errors import visible
from inspector.tui.fleet_asker import Progress
from inspector.tui.fleet_session import FleetSession
from inspector.tui.fleet_view import Said
from inspector.tui.titles import bar
from inspector.tui.widgets.outcome_pane import hanging


def said_text(found: Iterable[Said], width: int) -> Text:
    """Paragraphs as a text of a width. The first stands at the left, those below a heading are indented."""
    text = Text()
    for one in found:
        lead = "  " if one.indent else ""
        text.append(lead + hanging(visible(one.text), width, one.indent), one.style)
    return text


def progress_text(found: Progress) -> str:
    """A bar where it is known how much there is."""
    if not found.total:
        return visible(f"{found.what} ...")
    return visible(f"{bar(found.done, found.total)}{found.done:,} of {found.total:,}  {found.what}")


def title_text(session: FleetSession, title: str) -> str:
    """The store, how much is in it, what is shown."""
    counts = session.counts
    words = [session.path, f"{counts.names:,} names", f"{counts.hosts:,} distinct hosts", f"{counts.guests:,} guests"]
    if counts.faults:
        words.append(f"{counts.faults:,} not readable")
    return visible(" · ".join([title, *words]))
