"""A report as the text of an issue: short, and nothing that a file brings is mark-up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from inspector.capture.errors import visible
from inspector.export.report.case import Case, facts_of, folded_paths, telling_areas, value_of
from inspector.lint.findings import Finding

#: Lines of a table in an issue; who needs more opens the file.
_MOST_ROWS = 40
_MARKS = re.compile(r"([\\`*\[\]<>|~$&]|(?<!\w)_|_(?!\w)|^[#+-])")
#: What trackers make links, mentions of people and references of, wherever it stands in a sentence.
_LINKS = re.compile(r"@|#\d|://|www\.|\bGH-")


def markdown_of(case: Case) -> Iterator[str]:
    """The lines of an issue: a title, versions, verdicts, findings, differences, the fields that matter."""
    verdict = "; ".join(f"{one.asked}: {one.answer}" for one in case.verdicts)
    yield f"# {_text(case.title)}{': ' + _text(verdict) if verdict else ''}"
    yield ""
    for name, value in facts_of(case):
        yield f"- {name}: {_text(value)}"
    yield from _findings(case.found)
    yield from _changes(case)
    if case.migration:
        yield from ("", "## Migration", "", *(f"    {visible(line)}" for line in case.migration))
    yield from _fields(case)
    yield from _left_out(case)


def _findings(found: Sequence[Finding]) -> Iterator[str]:
    if not found:
        return
    yield from ("", "## Findings", "")
    for finding in found:
        where = "" if finding.vcpu is None else f"vCPU {finding.vcpu} "
        rule = finding.rule
        yield f"- **{rule.code}** {rule.severity}, {where}{_code(finding.path)}: {_text(rule.title)}"
        yield f"  {_text(finding.evidence)}. Then: {_text(rule.happens)} Do: {_text(finding.remedy)}"


def _changes(case: Case) -> Iterator[str]:
    if not case.changes:
        return
    yield from ("", "## What differs", "")
    for name, _, left_out in case.changes:
        if left_out:
            yield from (f"{_text(name)}: different, and left out: {', '.join(map(_code, left_out[:_MOST_ROWS]))}", "")
    yield from ("| where | field | first | second | what |", "|---|---|---|---|---|")
    rows = [(name, cell) for name, cells, _ in case.changes for cell in cells]
    for name, cell in rows[:_MOST_ROWS]:
        yield _row(_text(name), _code(cell.path), _code(cell.before), _code(cell.after), _text(cell.what))
    more = len(rows) - _MOST_ROWS + case.more_changes
    if more > 0:
        yield from ("", f"and {more} more")


def _fields(case: Case) -> Iterator[str]:
    rows = [
        (capture.target, vcpu, field)
        for capture, vcpu, _, fields in telling_areas(case)
        for field in fields
        if field.spec.pieces or field.path in case.wanted
    ]
    if not rows:
        return
    yield from ("", "## Fields", "", "| where | field | value | meaning |", "|---|---|---|---|")
    for target, vcpu, field in rows[:_MOST_ROWS]:
        owner = f"vCPU {vcpu.index}" if vcpu is not None else ""
        where = f"{target} {owner}".strip() if len(case.captures) > 1 else owner
        yield _row(_text(where), _code(field.path), _code(value_of(field)), _text(field.text[:200]))
    if len(rows) > _MOST_ROWS:
        yield from ("", f"and {len(rows) - _MOST_ROWS} more")


def _left_out(case: Case) -> Iterator[str]:
    if not case.dropped:
        return
    paths = folded_paths(f"{one.where} {one.path}".strip() for one in case.dropped)
    more = f" and {len(paths) - _MOST_ROWS} more" if len(paths) > _MOST_ROWS else ""
    yield from ("", f"Left out: {', '.join(map(_code, paths[:_MOST_ROWS]))}{more}.")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _text(words: str) -> str:
    """Words that are no mark-up; code where a tracker would make a link or a mention of them."""
    return _code(words) if _LINKS.search(words) else _MARKS.sub(r"\\\1", visible(words))


def _code(words: str) -> str:
    """Words in a code span that nothing in them ends, and no column of a table either."""
    plain = visible(words).replace("`", "'").replace("|", "¦")
    return f"`{plain}`" if plain else ""
