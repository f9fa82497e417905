"""A target that was read again: the same place in it, and what is another value now."""

from __future__ import annotations

from inspector.capture.model import Capture
from inspector.diff.changes import difference
from inspector.diff.pairing import rows
from inspector.tui.session import Session
from inspector.tui.titles import notice_of


def read_again(before: Session, capture: Capture) -> Session:
    """A session on the new capture, at the place of the old one; its ``moved`` are the paths that differ."""
    session = Session(capture, before.options)
    session.elements, session.search_text = before.elements, before.search_text
    session.moved = changed_paths(before.capture, capture)
    field = before.field()
    if before.vcpu is None:
        return session
    session.select_vcpu(min(before.vcpu_number, len(capture.vcpus) - 1))
    if field is not None:
        session.jump(field.path)
    elif before.area is not None:
        session.jump(before.area.prefix)
    return session


def changed_paths(before: Capture, after: Capture) -> dict[int, frozenset[str]]:
    """By vCPU (-1: the process) the paths of fields that differ, or that only one of them has."""
    found: dict[int, frozenset[str]] = {}
    for row in rows([before, after]):
        new = row.vcpus[-1]
        if new is None and row.name:
            continue
        number = -1 if new is None else next(at for at, vcpu in enumerate(after.vcpus) if vcpu is new)
        found[number] = frozenset(change.path for change in difference(row.areas).changes)
    return found


def told_again(session: Session) -> str:
    """How much is another value, and what the reader had to say, in one line."""
    return "; ".join(filter(None, (_changed(session), notice_of(session.capture))))


def _changed(session: Session) -> str:
    count = sum(len(paths) for paths in session.moved.values())
    where = sum(1 for number, paths in session.moved.items() if paths and number >= 0)
    if not count:
        return "read again: nothing changed"
    fields = "1 field is" if count == 1 else f"{count} fields are"
    return f"read again: {fields} another value now (≠), in {where} of {len(session.capture.vcpus)} vCPUs"
