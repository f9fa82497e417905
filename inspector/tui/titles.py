"""What the Inspect screen says above its panes: what is open, how far a read is, what the reader had to say."""

from __future__ import annotations

import os

from inspector.capture.errors import visible
from inspector.capture.model import Capture
from inspector.tui.session import Session

_BAR_WIDTH = 30


def title_of(session: Session) -> str:
    """Target, edits, format, vCPU, area and the layout of an XSAVE image."""
    capture, area = session.capture, session.area
    words = [os.path.basename(capture.target.rstrip("/"))]
    edits = len(session.overlay.edits)
    if edits:
        words.append(f"~ {edits} edit{'s' if edits > 1 else ''}, file untouched")
    if session.rows is not None and session.is_filtered:
        words.append(f"filter {session.rows.filter_text!r}, Esc: all")
    if session.highlighted:
        words.append(f"{session.found_text() or f'search {session.search_text!r}'}, Esc: end")
    words.append(capture.format)
    if session.vcpu is not None:
        of = f" ({session.vcpu_number + 1}/{len(capture.vcpus)})" if len(capture.vcpus) > 1 else ""
        words.append(f"{session.vcpu.name}{of}")
    if area is not None:
        words.append(area.title)
        table = area.attributes.get("table")
        if table is not None:
            words.append(f"layout: {table.origin}")
    return visible(" · ".join(words))


def progress_of(what: str, done: int, total: int) -> str:
    """A bar for a long read; without a known end the bytes so far."""
    return visible(f"{what}  {bar(done, total)}{done >> 20} MiB")


def bar(done: int, total: int) -> str:
    """So much of a total as a bar; empty without one."""
    filled = int(_BAR_WIDTH * min(1, done / total)) if total else 0
    return f"{'█' * filled}{'·' * (_BAR_WIDTH - filled)} {100 * done // total} %  " if total else ""


def notice_of(capture: Capture) -> str:
    """What the reader had to say: faults first."""
    words = [f"partial: {fault}" for fault in capture.faults[:1]]
    if len(capture.faults) > 1:
        words.append(f"and {len(capture.faults) - 1} more faults")
    return visible("; ".join([*words, *capture.notices]))
