"""Sections ``cpuid`` and ``arun``: tables set before the first run and after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from inspector.machine.answer import Agreed, Answer, NotAsked, unknown
from inspector.machine.x86.kvm import cpuid_ioctls, sregs, xcrs
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore import states
from inspector.machine.x86.replay.restore.bench import Bench, Record, entry_texts
from inspector.machine.x86.replay.restore.special_tables import SPECIAL, after_run
from inspector.machine.x86.replay.restore.sweeps import OTHER, SAME, char_of, char_of_errno, compare, masks
from inspector.machine.x86.replay.restore.tables import REGISTER_NAMES, Table, with_register

Found = Iterator[Answer | Agreed | NotAsked]
_OTHER_COUNT = 1000


class CpuidReplay:
    """One section; ``after_run`` for the tables that are set after the first KVM_RUN."""

    def __init__(self, bench: Bench, section: str) -> None:
        self.bench = bench
        self.section = section
        self.supported = bench.tables.supported
        #: What KVM_GET_CPUID2 gave after the first run.
        self.kept: Table = ()

    @property
    def vcpu(self) -> WholeVcpu:
        """The vCPU of the records."""
        return self.bench.vcpu

    def replay(self, records: Sequence[Record]) -> Found:
        """The answers of the section."""
        kinds: dict[str, Callable[[Record], Found]] = {
            "cpuid": self._cpuid,
            "setcpuid": self._setcpuid,
            "cpuidbits": self._cpuidbits,
            "arcpuidbits": self._arcpuidbits,
            "cpuidbits_new": self._cpuidbits_new,
            "cpuid_d0": self._cpuid_d0,
            "cpuid_del": self._cpuid_del,
            "cpuid_80000008": self._cpuid_80000008,
            "setcpuid1": self._setcpuid1,
            "getcpuid_n": self._getcpuid_n,
            "getcpuid_fresh": self._getcpuid_fresh,
            "setcpuid_null": self._setcpuid_null,
            "runtime": self._runtime,
            "runtime_set": self._setcpuid,
        }
        for record in records:
            op = record["op"]
            if op == "mk":
                self.bench.make(record)
            elif op == "run1":
                states.set_state(self.vcpu, "long")
                self.vcpu.ran = True
                yield NotAsked(f"{self.section}.run1", "guest code before a table", 1)
            elif op == "sregs_osxsave":
                image = bytearray(sregs.get_sregs(self.vcpu))
                states.put(image, states.CR4, self.vcpu.cr4 | 1 << 18)
                outcome = sregs.set_sregs(self.vcpu, bytes(image))
                yield self._answer(record, "CR4.OSXSAVE", record["e"], outcome.code, outcome.because)
            elif op == "misc":
                code, why = change(self.vcpu, "misc_enable mwait")
                yield Answer(f"{self.section}.misc", "MISC_ENABLE.MWAIT", record["e"], code, record["e"] == 1, why)
            elif op in kinds:
                yield from kinds[op](record)
            else:
                yield unknown(f"{self.section}.{op}")

    def _answer(self, record: Record, text: str, expected: object, predicted: object, why: str) -> Answer:
        accepted = not (expected[0] if isinstance(expected, list) else expected)
        return Answer(f"{self.section}.{record['op']}", text, expected, predicted, accepted, why)

    def _set(self, table: Table) -> tuple[int, list[list[Any]], str]:
        """KVM_SET_CPUID2, and what KVM_GET_CPUID2 gives differently."""
        outcome = cpuid_ioctls.set_cpuid2(self.vcpu, table)
        return outcome.code, differences(table, cpuid_ioctls.entries_of(self.vcpu)), outcome.because

    def _table(self, record: Record) -> Table:
        name = record.get("name", "sup")
        if self.section == "arun":
            if name == "as GET_CPUID2 gave":
                self.kept = cpuid_ioctls.entries_of(self.vcpu)
                return self.kept
            if name != "sup":
                return after_run(name, self.supported)
        if name in SPECIAL:
            return SPECIAL[name](self.supported)
        return self.bench.tables.named(name)

    def _cpuid(self, record: Record) -> Found:
        """A table that the recorder made, in full: those that are set by its name are the same."""
        made = entry_texts(self.bench.tables.named(record["name"]))
        yield self._answer(record, record["name"], [0, record["ent"]], [0, made], "as the recorder makes it")

    def _setcpuid(self, record: Record) -> Found:
        code, diff, why = self._set(self._table(record))
        expected = [record["e"], record.get("diff", [])]
        text = str(record.get("name", record.get("what")))
        yield self._answer(record, text, expected, [code, diff if not code else []], why)

    def _sweep(self, record: Record, text: str, tables: Iterator[Table], recorded: str) -> Found:
        found, reasons = [], []
        wrong = dict(record.get("x", ()))
        for nth, table in enumerate(tables):
            outcome = cpuid_ioctls.set_cpuid2(self.vcpu, table)
            char = char_of(outcome)
            why = outcome.because
            if char == SAME and record["op"] != "cpuid_d0" and record["op"] != "cpuid_80000008":
                diff = differences(table, cpuid_ioctls.entries_of(self.vcpu))
                char = OTHER if diff else SAME
                if char == OTHER and "x" in record and wrong.get(nth) != diff:
                    char, why = "!", f"KVM_GET_CPUID2 differs in {diff}"
            found.append(char)
            reasons.append(why)
        yield from compare(f"{self.section}.{record['op']}", text, recorded, "".join(found), reasons)

    def _cpuidbits(self, record: Record) -> Found:
        leaf, subleaf = int(record["f"], 16), int(record["i"], 16)
        register = REGISTER_NAMES.index(record["r"])
        value = int(record["b"], 16)
        tables = (with_register(self.supported, leaf, subleaf, register, value ^ 1 << bit) for bit in range(32))
        yield from self._sweep(record, f"{record['f']}.{record['i']}.{record['r']}", tables, record["s"])

    def _arcpuidbits(self, record: Record) -> Found:
        leaf, subleaf = int(record["f"], 16), int(record["i"], 16)
        register = REGISTER_NAMES.index(record["r"])
        value = int(record["b"], 16)
        found, reasons = [], []
        for bit in range(32):
            table = with_register(self.kept, leaf, subleaf, register, value ^ 1 << bit)
            code, diff, why = self._set(table)
            char = char_of_errno(code) if code else OTHER if diff else SAME
            if not code:
                cpuid_ioctls.set_cpuid2(self.vcpu, self.kept)
            found.append(char)
            reasons.append(why)
        text = f"{record['f']}.{record['i']}.{record['r']}"
        yield from compare(f"{self.section}.arcpuidbits", text, record["s"], "".join(found), reasons)

    def _cpuidbits_new(self, record: Record) -> Found:
        leaf, subleaf = int(record["f"], 16), int(record["i"], 16)
        register = REGISTER_NAMES.index(record["r"])
        tables = (self.bench.tables.flipped(leaf, subleaf, register, bit) for bit in range(32))
        yield from self._sweep(record, f"{record['f']}.{record['i']}.{record['r']}", tables, record["s"])

    def _cpuid_d0(self, record: Record) -> Found:
        tables = (with_register(self.supported, 0xD, 0, 0, value) for value in masks(record["bits"]))
        yield from self._sweep(record, "d.0.eax", tables, record["s"])

    def _cpuid_80000008(self, record: Record) -> Found:
        shift, before = 8 * record["byte"], int(record["b"], 16)
        tables = (
            with_register(self.supported, 0x80000008, 0, 0, before & ~(0xFF << shift) | value << shift)
            for value in range(256)
        )
        yield from self._sweep(record, f"80000008.eax byte {record['byte']}", tables, record["s"])

    def _cpuid_del(self, record: Record) -> Found:
        for nth, (leaf, subleaf, code, count) in enumerate(record["v"]):
            table = (*self.supported[:nth], *self.supported[nth + 1 :])
            mine, diff, why = self._set(table)
            yield self._answer(
                record, f"without {leaf}.{subleaf}", [code, count], [mine, 0 if mine else len(diff)], why
            )

    def _setcpuid1(self, record: Record) -> Found:
        rows = [(entry.leaf, *entry.values) for entry in self.supported]
        rows += [(0, 0, 0, 0, 0)] * record["nent"]
        outcome = cpuid_ioctls.set_cpuid(self.vcpu, rows[: record["nent"]])
        predicted: list[object] = [outcome.code]
        expected = [record["e"]]
        if "gnent" in record:
            expected += [record["ge"], record["gnent"]]
            predicted += [0, len(self.vcpu.guest.entries)]
        yield self._answer(record, f"{record['nent']} entries", expected, predicted, outcome.because)

    def _getcpuid_n(self, record: Record) -> Found:
        cpuid_ioctls.set_cpuid2(self.vcpu, self.supported)
        outcome = cpuid_ioctls.get_cpuid2(self.vcpu, record["in"])
        out = outcome.value if outcome.accepted else record["in"]
        expected, predicted = [record["e"], record["out"]], [outcome.code, out]
        yield self._answer(record, f"room for {record['in']}", expected, predicted, outcome.because)

    def _getcpuid_fresh(self, record: Record) -> Found:
        expected, predicted = [record["e"], record["nent"]], [0, len(cpuid_ioctls.entries_of(self.vcpu))]
        if "nent_as_returned_for_300" in record:
            expected.append(record["nent_as_returned_for_300"])
            predicted.append(cpuid_ioctls.get_cpuid2(self.vcpu, 300).value)
        yield self._answer(record, "before KVM_SET_CPUID2", expected, predicted, "kvm_vcpu_ioctl_get_cpuid2")

    def _setcpuid_null(self, record: Record) -> Found:
        yield self._answer(record, "no table", record["e"], 14, "copy_from_user of the header")

    def _runtime(self, record: Record) -> Found:
        code, why = change(self.vcpu, record["what"])
        diff = differences(self.supported, cpuid_ioctls.entries_of(self.vcpu))
        expected = [record["e"], record["ge"], record["diff"]]
        accepted = record["e"] == (1 if record["what"] in _MSR_CHANGES else 0)
        yield Answer("cpuid.runtime", record["what"], expected, [code, 0, diff], accepted, why)


#: What KVM_SET_MSRS writes, by the recorded names.
_MSR_CHANGES = {
    "xss=1800": (0xDA0, 0x1800),
    "misc_enable mwait": (0x1A0, 0x40001),
    "misc_enable 0": (0x1A0, 0),
    "misc_enable 1": (0x1A0, 1),
    "hwcr cpuidusrdis": (0xC0010015, 1 << 35),
    "tsx_ctrl 2": (0x122, 2),
    "poll_control 0": (0x4B564D05, 0),
}
#: CR4 and the APIC base that KVM_SET_SREGS writes in long mode.
_SREGS_CHANGES = {
    "long mode": (),
    "cr4.osxsave": ((states.CR4, 0x620 | 1 << 18),),
    "cr4.pke": ((states.CR4, 0x620 | 1 << 18 | 1 << 22),),
    "apic disabled": ((states.APIC_BASE, 0xFEE00000),),
    "apic enabled": ((states.APIC_BASE, 0xFEE00900),),
}


def change(vcpu: WholeVcpu, what: str) -> tuple[int, str]:
    """A register change by its recorded name: the errno; of an MSR, what KVM_SET_MSRS returned."""
    if what in _MSR_CHANGES:
        outcome = access.set_msrs(vcpu, [_MSR_CHANGES[what]])
        return outcome.value, outcome.because
    if what in _SREGS_CHANGES:
        image = bytearray(states.sregs_image(vcpu, "long"))
        for offset, value in _SREGS_CHANGES[what]:
            states.put(image, offset, value)
        outcome = sregs.set_sregs(vcpu, bytes(image))
    else:
        outcome = xcrs.set_xcrs(vcpu, [(0, int(what.removeprefix("xcr0="), 16))])
    return outcome.code, outcome.because


def differences(sent: Sequence[Entry], got: Sequence[Entry]) -> list[list[Any]]:
    """What was set and what is read, entry by entry (cpdiff)."""
    if len(sent) != len(got):
        return [["nent", len(sent), len(got)], *[[]] * (_OTHER_COUNT - 1)]
    found: list[list[Any]] = []
    for mine, theirs in zip(sent, got, strict=True):
        if mine == theirs:
            continue
        name = [f"{mine.leaf:x}", f"{mine.subleaf:x}"]
        if mine[:3] != theirs[:3]:
            keys = [f"{entry.leaf:x}.{entry.subleaf:x}.{entry.flags:x}" for entry in (mine, theirs)]
            found.append([*name, "key", *keys])
            continue
        for nth, register in enumerate(REGISTER_NAMES):
            if mine[3 + nth] != theirs[3 + nth]:
                found.append([*name, register, f"{mine[3 + nth]:x}", f"{theirs[3 + nth]:x}"])
    return found


def replay(bench: Bench, records: Sequence[Record]) -> Found:
    """The answers of section ``cpuid``."""
    return CpuidReplay(bench, "cpuid").replay(records)


def replay_after_run(bench: Bench, records: Sequence[Record]) -> Found:
    """The answers of section ``arun``."""
    return CpuidReplay(bench, "arun").replay(records)
