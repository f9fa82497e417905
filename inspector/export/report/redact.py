"""A capture without what it should not tell: secret bytes become zero and are marked, names become plain words."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from inspector.capture.attributes import DroppedRow, PropertyRow
from inspector.capture.errors import InputError
from inspector.capture.host import Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.decode.fields import FieldTable
from inspector.decode.spec import FieldSpec
from inspector.targets.schemes import scheme_of
from layouts.secrets import KINDS, LOG, NAME, PUBLIC_SCHEMES, UNCLAIMED, Secret, is_log_line, secret_of

_KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS, 1)}
_NUMBER = re.compile(r"0x0*([0-9a-f]{5,16})(?![0-9a-f])", re.IGNORECASE)
#: Names of vCPUs and threads that say nothing but their number.
_PLAIN_NAME = re.compile(r"(vcpu|cpu|thread|task|lwp)?[ #-]?\d*", re.IGNORECASE)
#: Paths in what a reader says: of files beside the one that was opened.
_PATH = re.compile(r"(?<![\w.~/*])(?:~|\.{1,2})?/[\w.][^\s,;:'\"()]*")
#: Numbers beyond 16 bits and words in quotes in a line of a log.
_LOG_WORDS = re.compile(r"(?<!\w)0x0*[1-9a-f][0-9a-f]{4,}|\b(?=[a-f]*\d)[0-9a-f]{5,}\b|\"[^\"]*\"", re.IGNORECASE)
#: What stands for each byte of a name.
_NAME_BYTE = ord("?")
#: Shorter names are words: "core" in a sentence is no file's name.
_NAME_LENGTH = 5
_LEFT_OUT = "(left out)"
#: How the notice begins that a capture carries when something of it was left out.
NOTICE = "left out when the report was made"
#: Numbers of entries and their types tell where the others are, nothing else.
_BOOKKEEPING = ("entries", "types")


class Keep:
    """What stays: kinds, path globs, or ``all``."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self._globs = {word: _glob(word) for word in words if word not in KINDS and word != "all"}
        self._used: set[str] = set()

    def keeps(self, path: str, kind: str) -> bool:
        """A secret field stays."""
        found = {word for word in self.words if word in (kind, "all")}
        found |= {word for word, glob in self._globs.items() if glob.fullmatch(path)}
        self._used |= found
        return bool(found)

    def unused(self) -> list[str]:
        """The words that kept nothing."""
        return [word for word in self.words if word not in self._used]


def _glob(word: str) -> re.Pattern[str]:
    return re.compile(re.escape(word).replace(r"\*", ".*").replace(r"\?", "."), re.IGNORECASE)


class Dropped(NamedTuple):
    """Something that was left out: of which vCPU (empty: of all), its path, why."""

    where: str
    path: str
    secret: Secret


def counts_of(dropped: Sequence[Dropped]) -> str:
    """How much of what: ``3 keys, 18 pointers``."""
    kinds = [one.secret.kind for one in dropped]
    return ", ".join(f"{kinds.count(kind)} {_plural(kind, kinds.count(kind))}" for kind in KINDS if kind in kinds)


class Redaction:
    """What is left out of some captures, and the words of a report without it."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.keep = Keep(words)
        self.dropped: list[Dropped] = []
        self._numbers: set[int] = set()
        self._names: dict[str, str] = {}

    def capture(self, capture: Capture, vcpus: Sequence[Vcpu], label: str) -> Capture:
        """A copy with these vCPUs, without what is left out. ``label`` is what a file is called then."""
        before = len(self.dropped)
        shown = self._learn_names(capture, vcpus, label)
        context = [self._area(area, "", shown) for area in capture.context]
        found = [self._vcpu(vcpu, shown) for vcpu in vcpus]
        about = capture.host
        notices = [self._told(notice) for notice in capture.notices]
        if self.dropped[before:]:
            notices.append(f"{NOTICE}: {counts_of(self.dropped[before:])}; such bytes are zero here")
        return Capture(
            shown,
            capture.format,
            found,
            host=Host(about.cpuid, self._told(about.kernel), self._told(about.about)),
            context=context,
            faults=[self._fault(fault) for fault in capture.faults],
            notices=notices,
        )

    def text(self, words: str) -> str:
        """A sentence without the names and numbers that were left out."""
        for name in sorted(self._names, key=len, reverse=True):
            words = words.replace(name, self._names[name])
        return _NUMBER.sub(lambda match: _LEFT_OUT if int(match[1], 16) in self._numbers else match[0], words)

    def _told(self, words: str) -> str:
        """The same of what a reader said, which may name other files as well."""
        words = self.text(words)
        return words if self.keep.keeps("target", NAME) else _PATH.sub(_LEFT_OUT, words)

    def is_dropped(self, path: str) -> bool:
        """A field would be left out."""
        secret = secret_of(path)
        return secret is not None and not self.keep.keeps(path, secret.kind)

    def _learn_names(self, capture: Capture, vcpus: Sequence[Vcpu], label: str) -> str:
        """Remember the names of files; what the capture is called from now on."""
        scheme = scheme_of(capture.target)
        is_public = scheme.prefix in PUBLIC_SCHEMES
        files = {area.origin.file for area in capture.context}
        files |= {area.origin.file for vcpu in vcpus for area in vcpu.areas} | {fault.file for fault in capture.faults}
        if self.keep.keeps("target", NAME):
            return capture.target
        if is_public:
            # Where the tool is installed is nobody's business.
            self._names |= {name: os.path.basename(name) for name in files if "/" in name and name != capture.target}
            return capture.target
        self.dropped.append(Dropped("", "target", _FILES))
        for name in (capture.target, *files):
            for word in (name, os.path.basename(name)):
                if len(word) >= _NAME_LENGTH:
                    self._names[word] = label
        return label

    def _vcpu(self, vcpu: Vcpu, shown: str) -> Vcpu:
        name = self.text(vcpu.name)
        if shown != _public(shown) and not self.keep.keeps("name", NAME) and not _PLAIN_NAME.fullmatch(name):
            self.dropped.append(Dropped(f"vCPU {vcpu.index}", "name", _VCPU_NAME))
            name = f"vCPU {vcpu.index}"
        return Vcpu(vcpu.index, name, vcpu.arch, [self._area(area, f"vCPU {vcpu.index}", shown) for area in vcpu.areas])

    def _area(self, area: Area, where: str, shown: str) -> Area:
        table = FieldTable(area)
        data, mask = bytearray(area.data), _Mask(area)
        kept: list[FieldSpec] = []
        secrets: list[tuple[FieldSpec, Secret]] = []
        for spec in table.specs:
            mask.claim(spec)
            secret = secret_of(spec.path, area.layout)
            if secret is None or not spec.pieces or spec.group in _BOOKKEEPING:
                continue
            if self.keep.keeps(spec.path, secret.kind):
                kept.append(spec)
            elif mask.any(data, spec):
                secrets.append((spec, secret))
                mask.drop(spec, secret.kind)
        if not self.keep.keeps(area.prefix, UNCLAIMED.kind) and mask.drop_unclaimed(data):
            self.dropped.append(Dropped(where, f"{area.prefix}: bytes between its fields", UNCLAIMED))
        for spec in kept:
            mask.undrop(spec)
        for spec, secret in secrets:
            if mask.is_dropped(spec):
                self._remember(table, spec)
                self.dropped.append(Dropped(where, spec.path, secret))
        mask.apply(data)
        attributes = area.attributes.copy()
        if rows := mask.rows():
            attributes["dropped"] = rows
        if "rows" in attributes:
            attributes["rows"] = [self._row(area.prefix, name, text, where) for name, text in attributes["rows"]]
        placed = attributes.get("table")
        if placed is not None:
            attributes["table"] = placed._replace(origin=self._told(placed.origin))
        return Area(
            area.layout,
            self.text(area.prefix),
            self._told(area.title),
            bytes(data),
            Origin(self._file(area.origin.file, shown), area.origin.offset),
            declared_size_bytes=area.declared_size_bytes,
            attributes=attributes,
        )

    def _row(self, prefix: str, name: str, text: str, where: str) -> PropertyRow:
        """A row of a table of words; of a log's line without numbers that may be a guest's."""
        path = f"{prefix}.{name}"
        if not is_log_line(path):
            return name, self._told(text)
        if self.keep.keeps(path, LOG.kind):
            return name, text
        told = _LOG_WORDS.sub(_LEFT_OUT, self._told(text))
        if told != text:
            self.dropped.append(Dropped(where, path, LOG))
        return name, told

    def _file(self, name: str, shown: str) -> str:
        if self.keep.keeps("target", NAME):
            return name
        return self._names.get(name, shown if os.path.isabs(name) else name)

    def _remember(self, table: FieldTable, spec: FieldSpec) -> None:
        """What sentences must not say any more."""
        field = table.decode(spec)
        if spec.kind == "text" and len(field.text) >= _NAME_LENGTH:
            self._names.setdefault(field.text, _LEFT_OUT)
        elif field.value is not None and field.bits <= 64:
            self._numbers.add(field.value)

    def _fault(self, fault: InputError) -> InputError:
        return InputError(self._told(fault.file), self._told(fault.expected), self._told(fault.found), fault.offset)


_FILES = Secret(NAME, "what the opened file is called, and where it lies", ())
_VCPU_NAME = Secret(NAME, "what the vCPU or thread is called", ())


def _public(shown: str) -> str:
    """The target itself, where everybody has it."""
    return shown if shown.startswith(PUBLIC_SCHEMES) else ""


def _plural(kind: str, count: int) -> str:
    words = {"memory": ("field of memory", "fields of memory")}.get(kind, (kind, f"{kind}s"))
    return words[count != 1]


class _Mask:
    """Which bytes of an area are left out, by the number of their kind; which are claimed by a field."""

    def __init__(self, area: Area) -> None:
        self._kinds = bytearray(len(area.data))
        self._claimed = bytearray(len(area.data))
        self._text = bytearray(len(area.data))
        for kind, offset, size_bytes in area.attributes.get("dropped", ()):
            self._put(self._kinds, offset, size_bytes, _KIND_NUMBERS[kind])

    def _put(self, into: bytearray, offset: int, size_bytes: int, value: int) -> None:
        end = min(offset + size_bytes, len(into))
        if offset < end:
            into[offset:end] = bytes([value]) * (end - offset)

    def claim(self, spec: FieldSpec) -> None:
        for offset, size_bytes in spec.pieces:
            self._put(self._claimed, offset, size_bytes, 1)

    def any(self, data: bytearray, spec: FieldSpec) -> bool:
        return any(any(data[offset : offset + size]) for offset, size in spec.pieces)

    def is_dropped(self, spec: FieldSpec) -> bool:
        return self.any(self._kinds, spec)

    def drop(self, spec: FieldSpec, kind: str) -> None:
        for offset, size_bytes in spec.pieces:
            self._put(self._kinds, offset, size_bytes, _KIND_NUMBERS[kind])
            self._put(self._text, offset, size_bytes, spec.kind == "text")

    def undrop(self, spec: FieldSpec) -> None:
        for offset, size_bytes in spec.pieces:
            self._put(self._kinds, offset, size_bytes, 0)

    def drop_unclaimed(self, data: bytearray) -> bool:
        """Leave out what no field claims, where it holds something; whether there was such."""
        found = False
        for run in re.finditer(rb"\0+", self._claimed):
            if any(data[run.start() : run.end()]):
                self._put(self._kinds, run.start(), run.end() - run.start(), _KIND_NUMBERS[UNCLAIMED.kind])
                found = True
        return found

    def apply(self, data: bytearray) -> None:
        """Take the bytes out. Texts keep their length, for where the next begins follows from it."""
        for _, at, size in _runs(self._kinds):
            texts, held = self._text[at : at + size], data[at : at + size]
            data[at : at + size] = (
                bytes(size)
                if not any(texts)
                else bytes(_NAME_BYTE * bool(text and byte) for text, byte in zip(texts, held, strict=True))
            )

    def rows(self) -> list[DroppedRow]:
        """The attribute ``dropped``."""
        kinds = list(KINDS)
        return [(kinds[number - 1], at, size) for number, at, size in _runs(self._kinds)]


def _runs(kinds: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """Runs of equal numbers that are not 0: number, where, how many."""
    return ((run[1][0], run.start(), len(run[0])) for run in re.finditer(rb"([^\0])\1*", kinds, re.DOTALL))
