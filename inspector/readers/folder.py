"""A folder of raw KVM structures: files named after what they hold open as vCPUs.

``kvm_regs.bin``, ``vcpu0.sregs.bin.gz`` and ``vcpu-permitted.kvm_xsave2.bin`` say the
structure in their name and the vCPU in what is before it.
"""

from __future__ import annotations

import os
import re
from contextlib import closing

from inspector.capture.attributes import XsaveTable
from inspector.capture.errors import InputError, visible
from inspector.capture.host import Cpuid, Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.decode.placement import table_from_cpuid
from inspector.readers import cpuid_text
from inspector.readers.budget import Budget
from inspector.readers.cpuid_table import cpuid_of
from inspector.readers.kvm_struct import MAX_SIZE_BYTES, struct_area
from inspector.readers.options import Options
from inspector.readers.source import Source, open_source
from inspector.readers.synthesized import cpuid_area
from inspector.readers.text import parse_json
from inspector.readers.xsave_area import choose_table, missing_fault, xsave_area
from layouts.light import TYPE_CHECKING, NamedTuple
from layouts.x86.kvm import STRUCTS

if TYPE_CHECKING:
    from typing import Any

#: What a file's name says -> layout.
_STRUCTS = {name: layout.name for layout in STRUCTS for name in layout.file_names} | {
    "xsave": "xsave",
    "xsave2": "xsave",
}
_NAME = re.compile(
    rf"(?P<vcpu>.*?)(?:(?:^|[._-])kvm)?(?:^|[._-])(?P<struct>{'|'.join(sorted(_STRUCTS, key=len, reverse=True))})"
    r"(?P<rest>[._-][a-z0-9_]+)??(?:\.(?:bin|raw|dump))?(?:\.(?:gz|xz|zst|bz2))?"
)
#: Names of files that somebody may take for part of the vCPU; a core or a text beside it nobody does.
_STRUCTURE = re.compile(r".*\.(?:bin|raw|dump)(?:\.(?:gz|xz|zst|bz2))?")
#: What a file's first word says of the whole machine instead of a vCPU.
_HOST_WORDS = ("supported", "emulated", "feature")
_FILES_LIMIT = 4096
_HOST_FACTS = "host.json"
_FACTS_LIMIT_BYTES = 1 << 16
#: 1,000 vCPUs with AMX have 30 MB.
_MAX_BYTES = 256 << 20
#: Files of ``convert --to raw`` whose layout is not in their name: of streams, texts and cores.
_AREA_NAMES = (".cpu.bin", ".registers.bin", ".prstatus.bin")


class _Member(NamedTuple):
    path: str
    vcpu: str
    struct: str


def read(path: str, options: Options) -> Capture:
    """A folder as a capture. Raises InputError when nothing in it has a known name."""
    try:
        names = sorted(entry.name for entry in os.scandir(path) if entry.is_file())[:_FILES_LIMIT]
    except OSError as error:
        raise InputError(path, "a readable folder", error.strerror or "an error") from error
    return _Folder(path, names, options).capture()


def holds_structures(path: str) -> bool:
    """Whether a folder is a capture: some file in it is named after a structure. False where it cannot be read."""
    try:
        return any(entry.is_file() and _NAME.fullmatch(entry.name) for entry in os.scandir(path))
    except OSError:
        return False


class _Folder:
    """A folder being read."""

    def __init__(self, path: str, names: list[str], options: Options) -> None:
        self.path = path
        self.options = options
        self.faults: list[InputError] = []
        self.budget = Budget(path, "members", records=_FILES_LIMIT, size_bytes=_MAX_BYTES)
        self.notices: list[str] = []
        self.members: list[_Member] = []
        self.others: list[str] = []
        for name in names:
            match = _NAME.fullmatch(name)
            if match:
                vcpu = match["vcpu"].removeprefix("kvm").strip("._-")
                rest = (match["rest"] or "").strip("._-")
                self.members.append(_Member(name, " ".join(filter(None, (vcpu, rest))), match["struct"]))
            elif name != "about.toml":
                self.others.append(name)

    def capture(self) -> Capture:
        """Read all members: first what describes the host, then each vCPU."""
        if not self.members:
            some = ", ".join(self.others[:3]) or "nothing"
            if any(name.endswith(_AREA_NAMES) for name in self.others):
                some = f"areas without their layout (convert --to raw): {some}; `convert --to vcpu` keeps everything"
            raise InputError(self.path, "files named after KVM structures (kvm_regs.bin, ...)", some)
        shared = [member for member in self.members if _is_host(member)]
        context = [area for member in shared if (area := self._struct(member, _host_prefix(member)))]
        host_cpuid = self._host_cpuid(context)
        names = sorted({m.vcpu for m in self.members if m not in shared}, key=_natural)
        vcpus = [Vcpu(n, name or "vcpu", "x86", self._vcpu(name, shared, host_cpuid)) for n, name in enumerate(names)]
        host = self._host(host_cpuid)
        strangers = [name for name in self.others if _STRUCTURE.fullmatch(name)]
        if strangers:
            self.notices.append(f"not part of the vCPU: {', '.join(strangers[:8])}")
        return Capture(
            self.path,
            "kvm-folder",
            vcpus,
            host=host,
            context=context,
            faults=self.faults,
            notices=self.notices,
        )

    def _host(self, cpuid: Cpuid | None) -> Host:
        """The host; ``host.json`` beside the structures has its kernel ("release"), "cpu" and "emulator"."""
        facts: dict[str, Any] = {}
        if _HOST_FACTS in self.others:
            try:
                with closing(open_source(os.path.join(self.path, _HOST_FACTS))) as source:
                    found = parse_json(source.read(0, _FACTS_LIMIT_BYTES))
            except (InputError, ValueError):
                found = None
            if isinstance(found, dict) and isinstance(found.get("release"), str):
                facts = found
                self.others.remove(_HOST_FACTS)
        words = [visible(str(facts[key])) for key in ("cpu", "emulator") if isinstance(facts.get(key), str)]
        return Host(cpuid=cpuid, kernel=visible(facts.get("release", "")), about=", ".join(words))

    def _host_cpuid(self, context: list[Area]) -> Cpuid | None:
        """CPUID of the host: ``cpuid -r`` text in the folder, else KVM_GET_SUPPORTED_CPUID."""
        for name in list(self.others):
            try:
                source = open_source(os.path.join(self.path, name))
            except InputError:
                continue
            try:
                if cpuid_text.looks_like_cpuid_text(source.read(0, 4096)):
                    cpuid = next(iter(cpuid_text.parse(source).tables().values()), None)
                    if cpuid is None:
                        continue
                    self.others.remove(name)
                    context.append(cpuid_area(cpuid, Origin(name, 0), "CPUID of the host", "host_cpuid"))
                    return cpuid
            except InputError:
                continue
            finally:
                source.close()
        for area in context:
            if area.prefix == "supported_cpuid":
                return cpuid_of(area.data)
        return None

    def _vcpu(self, name: str, shared: list[_Member], host_cpuid: Cpuid | None) -> list[Area]:
        members = [m for m in self.members if m.vcpu == name and m not in shared]
        has = {member.struct for member in members}
        areas = []
        for member in members:
            if _STRUCTS[member.struct] == "xsave":
                continue
            prefix = "sregs" if member.struct == "sregs2" and "sregs" not in has else ""
            area = self._struct(member, prefix)
            if area:
                areas.append(area)
        known = self._known_table(areas, host_cpuid)
        for member in members:
            if _STRUCTS[member.struct] == "xsave":
                twin = member.struct == "xsave" and "xsave2" in has
                area = self._xsave(member, "kvm_xsave" if twin else "xsave", known)
                if area:
                    areas.append(area)
        return areas

    def _known_table(self, areas: list[Area], host_cpuid: Cpuid | None) -> XsaveTable | None:
        """The vCPU's own CPUID places its image; without one the host's does."""
        own = next((cpuid_of(area.data) for area in areas if area.prefix == "cpuid"), None)
        for cpuid, origin in ((own, "CPUID of the vCPU"), (host_cpuid, "CPUID of the host")):
            table = table_from_cpuid(cpuid.xsave_table(), origin) if cpuid else None
            if table:
                return table
        return None

    def _bytes(self, member: _Member) -> bytes | None:
        path = os.path.join(self.path, member.path)
        source: Source | None = None
        try:
            source = open_source(path)
            data = source.read_all(MAX_SIZE_BYTES)
            self.budget.take(None, size_bytes=len(data))
        except InputError as error:
            self.faults.append(error)
            return None
        finally:
            if source:
                source.close()
        if source.fault:
            self.faults.append(source.fault)
        return data

    def _struct(self, member: _Member, prefix: str) -> Area | None:
        data = self._bytes(member)
        if data is None:
            return None
        area, fault = struct_area(_STRUCTS[member.struct], data, Origin(member.path, 0), prefix)
        if fault:
            self.faults.append(fault)
        return area

    def _xsave(self, member: _Member, prefix: str, known: XsaveTable | None) -> Area | None:
        data = self._bytes(member)
        if data is None:
            return None
        declared = max(len(data), 4096)
        if len(data) < 4096:
            fault = InputError(member.path, "an XSAVE image of at least 4096 bytes", f"{len(data)} bytes", len(data))
            self.faults.append(fault)
        table, notices = choose_table(data, declared, known, self.options)
        self.notices += [f"{member.path}: {notice}" for notice in notices]
        title = f"XSAVE image ({'KVM_GET_XSAVE2' if member.struct == 'xsave2' else 'KVM_GET_XSAVE'})"
        area = xsave_area(prefix, title, data, Origin(member.path, 0), table, declared)
        missing = missing_fault(area, member.path) if len(data) >= 4096 else None
        if missing:
            self.faults.append(missing)
        return area


def _is_host(member: _Member) -> bool:
    return member.struct.startswith(("supported", "msr_")) or member.vcpu in _HOST_WORDS


def _host_prefix(member: _Member) -> str:
    """``supported_cpuid``, ``emulated_cpuid``, ``feature_msrs``, ``msr_index_list`` ..."""
    return "_".join(filter(None, (member.vcpu, member.struct))).replace(" ", "_").replace("cpuid2", "cpuid")


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key: vcpu2 before vcpu10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
