"""What a report says, before it has a form: who, the verdicts asked for, the captures as they may leave."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import inspector
from inspector.capture.model import Area, Capture, Vcpu
from inspector.decode.fields import NOT_CAPTURED, Field, FieldTable, is_quiet
from inspector.decode.notes import notes_of
from inspector.decode.summary import summary_of
from inspector.decode.values import short_hex
from inspector.diff.changes import Change, Missing, difference
from inspector.diff.pairing import rows
from inspector.diff.parts import parts
from inspector.export.report.redact import NOTICE, Dropped, Redaction, counts_of
from inspector.export.words import counted
from inspector.lint.findings import Finding, findings
from layouts.lint.rule import SEVERITIES
from layouts.salience import DECISIVE, rank

#: More differences than this are counted, not listed.
MOST_CHANGES = 400
#: Fields of an area that stand open; the others are folded away.
_MOST_OPEN = 40
#: What decides, but for CPUID and properties: those are tables.
_OPEN_RANKS = frozenset(range(len(DECISIVE))) - {rank("cpuid.0.0.eax")}
_PARTS_SHOWN = 6
_MOST_NAMED = 8


class Verdict(NamedTuple):
    """An answer that was asked for: what was asked, the answer in a few words, whether it is good (None: neither)."""

    asked: str
    answer: str
    is_good: bool | None


class Cell(NamedTuple):
    """A difference: path, one value, the other, what differs."""

    path: str
    before: str
    after: str
    what: str


class Differing(NamedTuple):
    """What differs of one vCPU, or of what is no vCPU's; of fields that were left out only that they do."""

    name: str
    cells: Sequence[Cell]
    left_out: Sequence[str]


class Case(NamedTuple):
    """Everything that a report says, without what was left out."""

    captures: Sequence[Capture]
    verdicts: Sequence[Verdict]
    found: Sequence[Finding]
    changes: Sequence[Differing]
    more_changes: int
    migration: Sequence[str]
    dropped: Sequence[Dropped]
    #: Paths that findings and differences name, and globs that the user gave.
    wanted: frozenset[str]
    patterns: Sequence[str]

    @property
    def title(self) -> str:
        """What it is, in a line."""
        return " and ".join(capture.target for capture in self.captures)

    def left_out(self) -> str:
        """What was left out, counted."""
        return counts_of(self.dropped) or "nothing"


class Asked(NamedTuple):
    """What a user wants in a report. ``migration`` is a verdict with its lines, made by who knows the machine."""

    lint: bool = False
    vmm: str = ""
    diff: bool = False
    migration: tuple[Verdict, Sequence[str]] | None = None
    patterns: Sequence[str] = ()


def case_of(captures: Sequence[tuple[Capture, Sequence[Vcpu]]], asked: Asked, redaction: Redaction) -> Case:
    """Gather a report. Every sentence in it went through the redaction."""
    many = len(captures) > 1
    left = [
        redaction.capture(capture, vcpus, f"capture {number}" if many else "capture")
        for number, (capture, vcpus) in enumerate(captures, 1)
    ]
    verdicts: list[Verdict] = []
    found: list[Finding] = []
    changes: list[Differing] = []
    more = 0
    if asked.diff:
        changes, equal = _changes(captures, redaction)
        count = sum(len(found.cells) + len(found.left_out) for found in changes)
        answer = f"{counted(count, 'difference')}, {counted(equal, 'equal field')}" if count else "no difference"
        verdicts.append(Verdict("diff", answer, None if count else True))
        changes, more = _first(changes)
    if asked.lint:
        for capture, vcpus in captures:
            found += [_told(finding, redaction) for finding in findings(_only(capture, vcpus), asked.vmm)]
        is_good = not any(finding.rule.severity == "error" for finding in found)
        verdicts.append(Verdict(f"lint{f' for {asked.vmm}' if asked.vmm else ''}", _severities(found), is_good))
    if asked.migration is not None:
        verdict = asked.migration[0]
        verdicts.append(verdict._replace(asked=redaction.text(verdict.asked)))
    lines = [redaction.text(line) for line in asked.migration[1]] if asked.migration else []
    wanted = {finding.path for finding in found} | {cell.path for one in changes for cell in one.cells}
    return Case(left, verdicts, found, changes, more, lines, redaction.dropped, frozenset(wanted), asked.patterns)


def facts_of(case: Case) -> Iterator[tuple[str, str]]:
    """What a maintainer asks first, as names and values."""
    for capture in case.captures:
        cpus = f"{counted(len(capture.vcpus), 'vCPU')}, {_architectures(capture)}"
        yield "capture", f"{capture.target}: {capture.format}, {cpus}"
        for vcpu in capture.vcpus[:_MOST_NAMED]:
            yield f"vCPU {vcpu.index}", " · ".join(filter(None, (vcpu.name, summary_of(vcpu))))
        if len(capture.vcpus) > _MOST_NAMED:
            yield "", f"and {len(capture.vcpus) - _MOST_NAMED} more"
        if capture.host.about:
            yield "host", capture.host.about
        if capture.host.kernel:
            yield "kernel", capture.host.kernel
        for fault in capture.faults[:4]:
            yield "partial", str(fault)
        for notice in capture.notices[:8]:
            if not notice.startswith(NOTICE):
                yield "notice", notice
    yield "left out", f"{case.left_out()}{'; listed below' if case.dropped else ''}"
    yield "made by", f"inspector {inspector.__version__}, Python {platform.python_version()}"


def areas_of(capture: Capture) -> Iterator[tuple[Vcpu | None, Area]]:
    """Every area with its vCPU; those of the whole machine or process last."""
    for vcpu in capture.vcpus:
        yield from ((vcpu, area) for area in vcpu.areas)
    yield from ((None, area) for area in capture.context)


def open_fields(case: Case, area: Area) -> list[Field]:
    """The fields of an area that matter: asked for, named by a verdict, or decisive; the most telling first."""
    table = FieldTable(area)
    asked = {spec.path: spec for pattern in case.patterns for spec in table.find(pattern)}
    if case.patterns:
        return [table.decode(spec) for spec in asked.values()]
    found = [spec for spec in table.specs if spec.path in case.wanted or rank(spec.path) in _OPEN_RANKS]
    found.sort(key=lambda spec: (spec.path not in case.wanted, rank(spec.path)))
    fields = [field for spec in found if not is_quiet(field := table.decode(spec)) and _tells(field, case)]
    return fields[:_MOST_OPEN]


def telling_areas(case: Case) -> Iterator[tuple[Capture, Vcpu | None, Area, list[Field]]]:
    """Areas with fields that matter, vCPU by vCPU; the most telling area of each first."""
    for capture in case.captures:
        for vcpu, group in groupby(areas_of(capture), key=lambda found: found[0]):
            areas = [(area, open_fields(case, area)) for _, area in group]
            # Facts of a layout alone say nothing that the tables of all fields do not.
            telling = [
                (area, fields)
                for area, fields in areas
                if any(field.spec.pieces or field.path in case.wanted for field in fields)
            ]
            telling.sort(key=lambda found: rank(found[1][0].path))
            yield from ((capture, vcpu, area, fields) for area, fields in telling)


def all_fields(area: Area) -> list[Field]:
    """All fields of an area that say something."""
    return [field for field in FieldTable(area) if not is_quiet(field)]


def notes_by_path(capture: Capture, vcpu: Vcpu | None) -> dict[str, str]:
    """Remarks on fields."""
    return {path: note.text for path, note in notes_of(capture, vcpu).items()} if vcpu is not None else {}


def value_of(field: Field) -> str:
    """The value, or nothing where it is not captured."""
    return "" if field.value is None else short_hex(field.value, field.bits)


def folded_paths(paths: Iterable[str]) -> list[str]:
    """Paths with the numbers of arrays in one: ``xsave.xmm[0..15]``."""
    ranges: dict[tuple[str, str], list[int]] = {}
    for path in paths:
        head, bracket, tail = path.rpartition("[")
        number, closed, rest = tail.partition("]")
        if bracket and closed and number.isdecimal():
            ranges.setdefault((head, rest), []).append(int(number))
        else:
            ranges.setdefault((path, ""), [])
    return [f"{head}{_spread(numbers)}{rest}" for (head, rest), numbers in ranges.items()]


def _spread(numbers: Sequence[int]) -> str:
    """Numbers of an array as ranges: ``[0..3, 7]``."""
    ends: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ends and ends[-1][1] + 1 == number:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    words = ", ".join(str(first) if first == last else f"{first}..{last}" for first, last in ends)
    return f"[{words}]" if words else ""


def _tells(field: Field, case: Case) -> bool:
    """Worth a line without being asked for: something is set, or it is named."""
    return field.path in case.wanted or bool(field.value) or rank(field.path) == 0


def _only(capture: Capture, vcpus: Sequence[Vcpu]) -> Capture:
    chosen = Capture(
        capture.target, capture.format, vcpus, host=capture.host, context=capture.context, faults=capture.faults
    )
    chosen.notices = capture.notices
    return chosen


def _told(finding: Finding, redaction: Redaction) -> Finding:
    """A finding without values that were left out."""
    evidence = redaction.text(finding.evidence)
    if redaction.is_dropped(finding.path):
        evidence = "the value was left out of this report"
    return finding._replace(evidence=evidence, remedy=redaction.text(finding.remedy))


def _severities(found: Sequence[Finding]) -> str:
    numbers = {word: sum(finding.rule.severity == word for finding in found) for word in SEVERITIES}
    return (
        ", ".join(counted(number, word) for word, number in numbers.items() if number) or "nothing contradicts itself"
    )


def _changes(captures: Sequence[tuple[Capture, Sequence[Vcpu]]], redaction: Redaction) -> tuple[list[Differing], int]:
    found: list[Differing] = []
    equal = 0
    for row in rows([_only(capture, vcpus) for capture, vcpus in captures]):
        differs = difference(row.areas)
        equal += differs.equal
        usual = [change for change in differs.changes if not change.volatile]
        cells = [_cell(change, redaction) for change in usual if not redaction.is_dropped(change.path)]
        left_out = folded_paths(change.path for change in usual if redaction.is_dropped(change.path))
        cells += [
            Cell(missing.prefix, _presence(missing, 0), _presence(missing, 1), redaction.text(missing.title))
            for missing in differs.missing
        ]
        if cells or left_out:
            found.append(Differing(redaction.text(row.name) or "machine or process", cells, left_out))
    return found, equal


def _cell(change: Change, redaction: Redaction) -> Cell:
    there = [field for field in change.fields if field is not None]
    what = ""
    if len(there) == 2 and all(field.value is not None for field in there):
        differing = parts(there)
        names = [_part(part.name, part.width, part.values) for part in differing[:_PARTS_SHOWN]]
        what = ", ".join(names) + (f" and {len(differing) - _PARTS_SHOWN} more" if len(differing) > len(names) else "")
    before, after = (_side(field) for field in change.fields)
    return Cell(change.path, redaction.text(before), redaction.text(after), redaction.text(what))


def _presence(missing: Missing, side: int) -> str:
    return "present" if side in missing.sides else "none"


def _part(name: str, width: int, values: Sequence[int]) -> str:
    return f"{'+' if values[1] else '-'}{name}" if width == 1 else name


def _side(field: Field | None) -> str:
    if field is None:
        return "none"
    if field.value is None:
        return field.text or NOT_CAPTURED
    if field.spec.kind == "text":
        return field.text
    return value_of(field) + (f" ({field.state})" if field.state else "")


def _first(changes: Sequence[Differing]) -> tuple[list[Differing], int]:
    """As many as are listed, and how many are not."""
    left = MOST_CHANGES
    shown: list[Differing] = []
    for one in changes:
        if left > 0:
            shown.append(one._replace(cells=one.cells[:left]))
        left -= len(one.cells)
    return shown, max(0, -left)


def _architectures(capture: Capture) -> str:
    return ", ".join(dict.fromkeys(vcpu.arch for vcpu in capture.vcpus)) or "no architecture"
