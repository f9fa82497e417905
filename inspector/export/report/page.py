"""A report as one HTML file (docs/report.md): nothing is fetched, and nothing that a file brings is mark-up or runs."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import BinaryIO

from inspector.capture.errors import OutputError
from inspector.capture.model import Capture, Vcpu
from inspector.export.report.case import (
    Case,
    Cell,
    all_fields,
    areas_of,
    facts_of,
    folded_paths,
    notes_by_path,
    telling_areas,
)
from inspector.export.report.fields import heading, html, pair
from inspector.export.report.redact import Dropped
from inspector.export.vcpu import write_vcpu
from inspector.export.words import counted
from inspector.lint.findings import Finding
from inspector.readers import vcpu_file
from inspector.readers.report import BLOCK_BEGIN, BLOCK_END, MAGIC, MAX_SIZE_BYTES
from layouts.secrets import KINDS

#: A page without its captures is smaller; what does not fit is in the capture alone.
PAGE_LIMIT_BYTES = 900_000
#: So many tables that do not fit are tried before the rest is only counted.
_TRIED = 32
#: Paths in one sentence.
_MOST_PATHS = 200


def write_page(out: BinaryIO, case: Case) -> None:
    """Write the page, with the captures in it. Raises OutputError for captures that no report can hold."""
    blocks = [_block(capture) for capture in case.captures]
    if sum(map(len, blocks)) > MAX_SIZE_BYTES - 2 * PAGE_LIMIT_BYTES:
        raise OutputError(f"report: captures of more than {MAX_SIZE_BYTES >> 20} MiB; --vcpu N takes one vCPU")
    style, script = _part("page.css"), _part("page.js")
    page = _Page()
    page.add(_head(case.title, style, script))
    page.add(f'<body>\n<main>\n<p class="kicker">vCPU state report</p>\n<h1>{html(case.title)}</h1>\n')
    for section in (_verdicts, _facts, _findings, _changes, _migration):
        page.add(section(case))
    _matter(page, case)
    page.add(_left_out(case))
    _everything(page, case)
    page.add(_footer(case))
    page.add("</main>\n")
    for text in page.texts:
        out.write(text)
    out.writelines(blocks)
    out.write(f"<script>{script}</script>\n</body>\n</html>\n".encode())


class _Page:
    """The page so far. ``fits`` says whether a part that can be left away still may come."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.size_bytes = 0

    def add(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        self.texts.append(data)
        self.size_bytes += len(data)

    def fits(self, text: str) -> bool:
        return self.size_bytes + len(text.encode("utf-8", "backslashreplace")) <= PAGE_LIMIT_BYTES


def _head(title: str, style: str, script: str) -> str:
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; base-uri 'none'; "
        "form-action 'none'"
    )
    return (
        f'{MAGIC}\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{html(title)} · vCPU state report</title>\n<style>{style}</style>\n</head>\n"
    )


def _part(name: str) -> str:
    return files("inspector.export.report").joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    """A source expression of Content Security Policy level 3 for an inline element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _verdicts(case: Case) -> str:
    if not case.verdicts:
        return ""
    words = {True: "good", False: "bad", None: "open"}
    rows = "".join(
        f'<li class="{words[verdict.is_good]}"><b>{html(verdict.answer)}</b><span>{html(verdict.asked)}</span></li>\n'
        for verdict in case.verdicts
    )
    return f'<ul class="verdicts">\n{rows}</ul>\n'


def _facts(case: Case) -> str:
    rows = "".join(f"<dt>{html(name)}</dt><dd>{html(value)}</dd>\n" for name, value in facts_of(case))
    return f"<dl>\n{rows}</dl>\n"


def _findings(case: Case) -> str:
    return "<h2>Findings</h2>\n" + "\n".join(map(_finding, case.found)) + "\n" if case.found else ""


def _finding(finding: Finding) -> str:
    rule = finding.rule
    where = "" if finding.vcpu is None else f"vCPU {finding.vcpu} · "
    return (
        f'<div class="finding"><p><b>{html(rule.title)}</b></p>\n'
        f'<p class="quiet"><span class="{html(rule.severity)}">{html(rule.severity)}</span> · {html(rule.code)} · '
        f"{html(where)}<code>{html(finding.path)}</code></p>\n"
        f"<p>{html(finding.evidence)}</p>\n<p>Then: {html(rule.happens)}</p>\n<p>Do: {html(finding.remedy)}</p>\n"
        f'<p class="quiet">{html(rule.source)}</p></div>'
    )


def _changes(case: Case) -> str:
    if not case.changes:
        return ""
    text = "<h2>What differs</h2>\n"
    for name, cells, left_out in case.changes:
        text += f"<h3>{html(name)}</h3>\n"
        if left_out:
            text += f"<p>Different, and left out: {_paths(left_out)}</p>\n"
        if not cells:
            continue
        head = "<thead><tr><th>field</th><th>first</th><th>second</th><th>what</th></tr></thead>"
        rows = "\n".join(map(_change, cells))
        text += f'<div class="wide"><table>{head}<tbody>\n{rows}\n</tbody></table></div>\n'
    if case.more_changes:
        text += f'<p class="quiet">and {counted(case.more_changes, "field")} more</p>\n'
    return text


def _change(cell: Cell) -> str:
    return (
        f'<tr><td><code>{html(cell.path)}</code></td><td class="v">{html(cell.before)}</td>'
        f'<td class="v">{html(cell.after)}</td><td>{html(cell.what)}</td></tr>'
    )


def _migration(case: Case) -> str:
    if not case.migration:
        return ""
    return f'<h2>Migration</h2>\n<pre class="lines">{html_lines(case.migration)}</pre>\n'


def html_lines(lines: Sequence[str]) -> str:
    """Lines of text, each one line whatever it holds."""
    return "\n".join(map(html, lines))


def _matter(page: _Page, case: Case) -> None:
    """The fields that matter, area by area."""
    page.add("<h2>Fields that matter</h2>\n")
    shown: object = None
    for capture, vcpu, area, fields in telling_areas(case):
        text = _owner(case, capture, vcpu) if shown != (capture, vcpu) else ""
        text += f"{heading(area)}\n{pair(area, fields, notes_by_path(capture, vcpu), whole=False)}\n"
        if not page.fits(text):
            page.add('<p class="quiet">More is in the capture inside: inspector open shows it.</p>\n')
            return
        page.add(text)
        shown = (capture, vcpu)
    if shown is None:
        page.add('<p class="quiet">No field here decides anything alone; all of them are below.</p>\n')


def _owner(case: Case, capture: Capture, vcpu: Vcpu | None) -> str:
    words = [capture.target] if len(case.captures) > 1 else []
    if vcpu is not None:
        number = f"vCPU {vcpu.index}"
        words.append(number if vcpu.name in ("", number) else f"{number}, {vcpu.name}")
    elif len(capture.vcpus):
        words.append("machine or process")
    return f'<p class="owner">{html(" · ".join(words))}</p>\n' if words else ""


def _everything(page: _Page, case: Case) -> None:
    """All fields and bytes, folded; as many areas as fit."""
    page.add("<h2>All fields and bytes</h2>\n")
    skipped = 0
    for capture in case.captures:
        for vcpu, area in areas_of(capture):
            # A few more may fit that are smaller; of 10,000 threads not every one is tried.
            if skipped >= _TRIED:
                skipped += 1
                continue
            fields = all_fields(area)
            if not fields:
                continue
            owner = f"vCPU {vcpu.index}" if vcpu is not None else "machine or process"
            where = f"{capture.target} · {owner}" if len(case.captures) > 1 else owner
            text = (
                f"<details><summary>{html(area.title)}<small>{html(where)} · {counted(len(fields), 'field')}, "
                f"{counted(area.size_bytes, 'byte')}</small></summary>\n"
                f"{pair(area, fields, notes_by_path(capture, vcpu), whole=True)}\n</details>\n"
            )
            if page.fits(text):
                page.add(text)
            else:
                skipped += 1
    if skipped:
        page.add(f'<p class="quiet">{counted(skipped, "table")} more in the capture inside.</p>\n')


def _left_out(case: Case) -> str:
    if not case.dropped:
        return "<h2>Left out</h2>\n<p>Nothing: everything that was captured is in this file.</p>\n"
    text = (
        "<h2>Left out</h2>\n<p>These bytes are printed as ·· here. In the capture inside they are zero, and open as "
        "not captured.</p>\n"
    )
    for kind, about in KINDS.items():
        of_kind = [dropped for dropped in case.dropped if dropped.secret.kind == kind]
        if of_kind:
            text += f"<details><summary>{html(kind)}: {len(of_kind)}<small>{html(about)}</small></summary>\n"
            text += f"{''.join(_reasons(of_kind))}</details>\n"
    return text


def _reasons(dropped: Sequence[Dropped]) -> Iterator[str]:
    by_reason: dict[str, list[Dropped]] = {}
    for one in dropped:
        by_reason.setdefault(one.secret.why, []).append(one)
    for why, ones in by_reason.items():
        paths = folded_paths(f"{one.where} {one.path}".strip() for one in ones)
        yield f"<p>{html(why[:1].upper() + why[1:])}: {_paths(paths)}</p>\n"


def _paths(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
    return ", ".join(f"<code>{html(path)}</code>" for path in paths[:_MOST_PATHS]) + more


def _footer(case: Case) -> str:
    several = "the captures inside; their vCPUs come side by side" if len(case.captures) > 1 else "the capture inside"
    return (
        f"<footer><p>This file asks no network for anything. <code>inspector open FILE</code> opens {several}; "
        "<code>inspector convert FILE --to vcpu</code> takes it out.</p></footer>\n"
    )


def _block(capture: Capture) -> bytes:
    """A capture file, packed, as a block of data that no browser runs."""
    written = io.BytesIO()
    write_vcpu(written, capture)
    if written.tell() > vcpu_file.MAX_SIZE_BYTES:
        limit = vcpu_file.MAX_SIZE_BYTES >> 20
        raise OutputError(f"report: {capture.target} has more than {limit} MiB; --vcpu N takes one vCPU")
    packed = gzip.compress(written.getvalue(), mtime=0)
    return BLOCK_BEGIN + base64.b64encode(packed) + BLOCK_END + b"\n"
