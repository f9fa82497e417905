"""The host that a recording is of, the tables that it names, and the vCPU that its records are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inspector.capture.errors import InputError
from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.recording import BORROWED_HOST
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.cpuid_ioctls import at_run_time
from inspector.machine.x86.kvm.guest_cpuid import Entry, GuestCpuid
from inspector.machine.x86.kvm.module import PVM, SVM, VMX, Kvm, Processor
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from inspector.machine.x86.replay.restore.guest_memory import ZEROES
from inspector.machine.x86.replay.restore.tables import Tables, entries_of
from layouts.x86.features import DEPENDENTS, FEATURES
from layouts.x86.kernels import profile_for

Record = Mapping[str, Any]
_VENDORS = (("kvm_intel", VMX), ("kvm_amd", SVM), ("kvm_pvm", PVM))
#: What no instruction for user space tells of the processor, and KVM's feature MSRs do.
_ARCH_CAPABILITIES, _VMX_MSRS = 0x10A, range(0x480, 0x492)
#: What a recording has beside its sections.
_FRAMES = frozenset(("runner", "insmod", "end", "time", "crash", "done", "dmesg", BORROWED_HOST))
#: Under this name are records that are in none.
NO_SECTION = "no section"
_PACKAGE = re.compile(r"\b(\d+\.\d+\.\d+)-\d")


class Bench:
    """What records are replayed on.

    ``tables`` are the CPUID tables by their recorded names; ``vcpu`` is the one of the last ``mk`` record,
    ``sections`` the records by section, ``facts`` those of the section ``host`` by their ``op``.
    """

    def __init__(self, file: str, records: Sequence[Record]) -> None:
        self.file = file
        self.sections = sections_of(records)
        self.runner = next((record for record in records if record["op"] == "runner"), {})
        #: The section ``host`` is of another file: its answers are not this one's.
        self.is_host_borrowed = any(record["op"] == BORROWED_HOST for record in records)
        self.facts: dict[str, list[Record]] = {}
        for record in self.sections.get("host", ()):
            self.facts.setdefault(record["op"], []).append(record)
        if not {"meta", "rawcpuid", "supcpuid"} <= set(self.facts):
            raise InputError(file, 'a section "host" with meta, rawcpuid and supcpuid', "none")
        self.kvm = kvm_of(self.runner, self.facts)
        supported = entries_of(self.facts["supcpuid"][0]["ent"])
        hyperv = entries_of(self.facts["hvcpuid"][0]["ent"]) if "hvcpuid" in self.facts else ()
        self.tables = Tables(supported, hyperv)
        self.vcpu = WholeVcpu(self.kvm)
        #: The name of its table.
        self.cpuid = ""
        self._bare: WholeVcpu | None = None
        #: The VM is one that enforces the paravirtual features of its CPUID.
        self.enforces = False

    def make(self, record: Record) -> WholeVcpu:
        """A fresh VM with one vCPU, as a ``mk`` record says."""
        self.cpuid = record["cpuid"]
        self.vcpu = self.fresh(record["irq"], self.cpuid, int(record.get("quirks", "0"), 16))
        return self.vcpu

    def table_of(self, cpuid: str) -> GuestCpuid:
        """A table by name as a fresh vCPU has it, without a vCPU."""
        if self._bare is None:
            self._bare = WholeVcpu(self.kvm)
        entries = self.tables.named(cpuid) if cpuid else ()
        return GuestCpuid(self.kvm, at_run_time(self._bare, entries), is_set=bool(cpuid))

    def fresh(self, irqchip: int, cpuid: str, quirks: int = 0) -> WholeVcpu:
        """A fresh VM with one vCPU and a table by name; 2 MiB of zeroes at 0."""
        vm = VmConfig(irqchip, quirks, memory=ZEROES)
        vcpu = WholeVcpu(self.kvm, vm)
        if cpuid:
            vcpu.set_cpuid2(self.tables.named(cpuid))
        return vcpu


def sections_of(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The records by section, without those that only frame them; what is in no section has a name of its own."""
    found: dict[str, list[Record]] = {}
    current: list[Record] | None = None
    for record in records:
        if record["op"] == "section":
            current = found.setdefault(record["name"], [])
        elif record["op"] in _FRAMES:
            current = current if record["op"] == "dmesg" else None
        else:
            (found.setdefault(NO_SECTION, []) if current is None else current).append(record)
    return found


def kvm_of(runner: Record, facts: Mapping[str, Sequence[Record]]) -> Kvm:
    """KVM on the host that a section ``host`` describes: only its bare facts, no answers of KVM."""
    raw = Cpuid({(entry.leaf, entry.subleaf): entry.values for entry in entries_of(facts["rawcpuid"][0]["ent"])})
    # Debian's name of the release may leave the stable number out; its package's version has it.
    package = _PACKAGE.search(str(facts["meta"][0]["version"]))
    release = package[1] if package else str(facts["meta"][0]["release"])
    files = {record["path"]: str(record["text"]) for record in facts.get("file", ())}
    modules = {record["module"]: record["v"] for record in facts.get("param", ())}
    parameters = {name: value for module in modules.values() for name, value in module.items()}
    emulator = str(runner.get("emulator", ""))
    microcode = re.search(r"microcode\s*:\s*0x([0-9a-f]+)", files.get("/proc/cpuinfo", ""))
    cpuinfo = files.get("/proc/cpuinfo", "")
    bugs = re.search(r"bugs\s*:((?: \w+)*?) bogomips", cpuinfo)
    vmx_flags = re.search(r"vmx flags\s*:([^:]*) bugs\s*:", cpuinfo)
    told = {int(row[0], 16): int(row[2], 16) for row in facts["featmsrs"][0]["v"]} if "featmsrs" in facts else {}
    processor = Processor(
        emulator="tcg" if "TCG" in emulator else "bochs" if "Bochs" in emulator else "",
        microcode=int(microcode[1], 16) if microcode else 0,
        bugs=frozenset(bugs[1].upper().split()) if bugs else None,
        msrs={_ARCH_CAPABILITIES: told.get(_ARCH_CAPABILITIES, 0)},
        features={index: value for index, value in told.items() if index in _VMX_MSRS},
        tsc_khz=int(facts["tsckhz"][0]["vcpu"]) if "tsckhz" in facts else 0,
        vmx_flags=frozenset(vmx_flags[1].split()) if vmx_flags else frozenset(),
        online_cpus=len(re.findall(r"processor\s*:", cpuinfo)) or 1,
    )
    seen = without(raw, cleared(files.get("/proc/cmdline", "")))
    host = Host(seen, profile_for(release), emulated=bool(processor.emulator))
    vendor = next((name for module, name in _VENDORS if module in modules), "")
    return Kvm(host, release=release, vendor=vendor, raw=raw, parameters=parameters, processor=processor)


def is_processors(index: int) -> bool:
    """An MSR that the host is made of: its recorded value is no answer."""
    return index == _ARCH_CAPABILITIES or index in _VMX_MSRS


def cleared(command_line: str) -> frozenset[str]:
    """The features that ``clearcpuid=`` takes from Linux, by its names, with those that depend on them."""
    words = [word.removeprefix("clearcpuid=") for word in command_line.split() if word.startswith("clearcpuid=")]
    found: set[str] = set()
    waiting = [name.upper() for word in words for name in word.split(",") if name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += DEPENDENTS.get(name, "").split()
    return frozenset(found)


def without(cpuid: Cpuid, features: Iterable[str]) -> Cpuid:
    """CPUID without some features; what Linux does not know by name stays."""
    leaves: dict[tuple[int, int], CpuidValues] = dict(cpuid.leaves)
    for feature in features:
        if feature not in FEATURES:
            continue
        leaf, subleaf, register, bit = FEATURES[feature]
        values = list(leaves.get((leaf, subleaf), (0, 0, 0, 0)))
        values[register] &= ~(1 << bit)
        leaves[leaf, subleaf] = (values[0], values[1], values[2], values[3])
    return Cpuid(leaves)


def entry_texts(entries: Iterable[Entry]) -> list[list[object]]:
    """Entries as the recorder writes them."""
    return [
        [f"{entry.leaf:x}", f"{entry.subleaf:x}", entry.flags, *(f"{value:x}" for value in entry.values)]
        for entry in entries
    ]
