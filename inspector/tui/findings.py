"""What lint finds, as the screens show it: marks on fields, and a list. Toolkit-free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inspector.capture.model import Capture, Vcpu
from inspector.decode.notes import Note
from inspector.lint.findings import Finding, findings, findings_of_vcpu
from layouts.lint.rule import SEVERITIES


def finding_marks(capture: Capture, vcpu: Vcpu) -> dict[str, Note]:
    """A remark on each field of a vCPU with an error or a warning, by path: the worst one. Notes are in the list only.

    An area that cannot be decoded is told of in its own pane: then there are no remarks.
    """
    marks: dict[str, Note] = {}
    try:
        found = by_severity(findings_of_vcpu(capture, vcpu))
    except Exception:  # noqa: BLE001 - a bug of ours must not take the screen with it
        return marks
    for finding in found:
        if finding.rule.severity == SEVERITIES[-1]:
            continue
        rule = finding.rule
        words = (
            f"{rule.code} {rule.severity}: {rule.title} ({finding.evidence}). Then: {rule.happens} Do: {finding.remedy}"
        )
        marks.setdefault(finding.path, Note(words, rule.source, f"{rule.code} {rule.severity}"))
    return marks


def both(notes: Mapping[str, Note], marks: Mapping[str, Note]) -> dict[str, Note]:
    """Remarks of the capture and of lint; where a field has both, lint's first."""
    merged = {**notes, **marks}
    for path in notes.keys() & marks.keys():
        mark, note = marks[path], notes[path]
        merged[path] = Note(f"{mark.text} {note.text}", f"{mark.source}; {note.source}", mark.brief)
    return merged


def all_findings(capture: Capture) -> list[Finding]:
    """What contradicts itself in a capture, the worst first."""
    return by_severity(findings(capture))


def by_severity(found: Iterable[Finding]) -> list[Finding]:
    """Errors, warnings, notes; among them as they came."""
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.rule.severity))
