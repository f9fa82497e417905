"""Sections ``restore`` and ``foreign``: whole vCPUs restored into fresh ones, call by call."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from inspector.machine.answer import Agreed, Answer, NotAsked, RecordError, unknown
from inspector.machine.x86.kvm import restore
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.guest_memory import ZEROES
from inspector.machine.x86.replay.restore.msrs import VOLATILE, is_lost
from layouts.registry import size_bytes
from layouts.x86.kvm_counted import cpuid2_unpack, msrs_unpack

Found = Iterator[Answer | Agreed | NotAsked]
Files = Mapping[str, bytes]
ORDERS = (restore.QEMU, restore.FIRECRACKER, restore.MSRS_FIRST)
_APIC_TIMER = slice(0x390, 0x394)
_SHOWN_WORDS, _XSAVE_COMPARED = 8, 4096
#: The recorder prints at most three counts of KVM_SET_MSRS.
_SHOWN_COUNTS = 3


def saved_of(files: Files, tsc_khz: int) -> restore.Saved:
    """A captured vCPU from its files, by the names that recordings give them."""

    def part(name: str) -> bytes | None:
        return files.get(f"vcpu0.kvm_{name}.bin")

    def whole(name: str) -> bytes:
        data, size = part(name) or b"", size_bytes(f"kvm-{name.replace('_', '-')}")
        if len(data) < size:
            raise RecordError(f"vcpu0.kvm_{name}.bin has {len(data)} bytes of {size}")
        return data

    msrs, cpuid = part("msrs") or bytes(8), part("cpuid2") or bytes(8)
    return restore.Saved(
        cpuid=tuple(Entry(*row) for row in cpuid2_unpack(cpuid)),
        regs=whole("regs"),
        sregs=whole("sregs"),
        sregs2=part("sregs2"),
        xsave=part("xsave") or b"",
        xcrs=whole("xcrs"),
        msrs=tuple((index, value) for index, _, value in msrs_unpack(msrs)),
        events=whole("vcpu_events"),
        mp_state=int.from_bytes(part("mp_state") or b"", "little"),
        debugregs=part("debugregs") or b"",
        lapic=part("lapic_state"),
        nested=part("nested_state"),
        tsc_khz=tsc_khz,
    )


class Captured(NamedTuple):
    """A captured vCPU, and which interrupt controllers its VM had."""

    name: str
    saved: restore.Saved
    irqchip: int


class RestoreReplay:
    """The restores of one captured vCPU after another: ``captured`` is the one that the next records are about."""

    def __init__(self, bench: Bench, section: str) -> None:
        self.bench = bench
        self.section = section
        self.captured: Captured | None = None

    def answers(self, record: Record) -> Found:
        """The answers of a ``restore`` record."""
        assert self.captured is not None
        where, saved, irqchip = self.captured
        kind = f"{self.section}.restore"
        name = record["cpuid"]
        table = saved.cpuid if name == "captured" else self.bench.tables.named(name) if name else ()
        vcpu = WholeVcpu(self.bench.kvm, VmConfig(irqchip, memory=ZEROES))
        text = f"{where}, {name or 'no table'}, order {record['order']}"
        if name:
            outcome = vcpu.set_cpuid2(table)
            expected = record["cpuid_e"]
            yield Answer(kind, f"{text}: cpuid", expected, outcome.code, not expected, outcome.because)
        yield from self._steps(kind, text, record, restore.restore(vcpu, saved, ORDERS[record["order"]]))
        yield from self._differences(kind, text, record, vcpu, saved)
        if "run" in record:
            yield NotAsked(f"{self.section}.run", "guest code after a restore", 2)

    def _steps(self, kind: str, text: str, record: Record, steps: Sequence[restore.SetCall]) -> Found:
        for (name, expected), step in zip(record["steps"], steps, strict=True):
            because = step.outcome.because
            if name != step.name:
                raise RecordError(f"{text}: {name} where the order has {step.name}")
            if name != "msrs":
                yield Answer(kind, f"{text}: {name}", expected, step.outcome.code, not expected, because)
                continue
            refused = [f"{index:x}" for index in step.refused]
            yield Answer(
                kind,
                f"{text}: msrs",
                [expected, record.get("badmsrs", [])],
                [list(step.counts[:_SHOWN_COUNTS]), refused],
                "badmsrs" not in record,
                because,
            )

    def _differences(self, kind: str, text: str, record: Record, vcpu: WholeVcpu, saved: restore.Saved) -> Found:
        now = restore.save(vcpu, ())
        structures = compared(saved, now)
        for name in record["diff"].keys() - structures:
            yield Answer(kind, f"{text}: {name} read back", record["diff"][name], None, accepted=True)
        for name, (before, after) in structures.items():
            expected = record["diff"].get(name)
            mine = words(before, after)
            yield Answer(
                kind, f"{text}: {name} read back", expected, mine, accepted=True, because="what the calls left"
            )
        yield from self._msr_differences(kind, text, record, vcpu, saved.msrs)

    def _msr_differences(
        self, kind: str, text: str, record: Record, vcpu: WholeVcpu, msrs: Sequence[tuple[int, int]]
    ) -> Found:
        mine: dict[str, list[str | None]] = {}
        lost = {f"{index:x}" for index, _ in msrs if is_lost(vcpu, index)}
        for index, value in msrs:
            if index in VOLATILE:
                continue
            got = access.read(vcpu, index)
            if not isinstance(got, int):
                mine[f"{index:x}"] = [f"{value:x}", None]
            elif got != value:
                mine[f"{index:x}"] = [f"{value:x}", f"{got:x}"]
        theirs = {index: row for index, row in record.get("msrdiff", {}).items() if index not in lost}
        mine = {index: row for index, row in mine.items() if index not in lost}
        yield Answer(kind, f"{text}: MSRs read back", theirs, mine, accepted=True, because="what the calls left")


def compared(saved: restore.Saved, now: restore.Saved) -> dict[str, tuple[bytes, bytes]]:
    """The structures that are compared, by their recorded names."""
    found = {
        "regs": (saved.regs, now.regs),
        "sregs": (saved.sregs, now.sregs),
        "xsave": (saved.xsave[:_XSAVE_COMPARED], now.xsave[:_XSAVE_COMPARED]),
        "xcrs": (saved.xcrs, now.xcrs),
        "events": (saved.events, now.events),
        "debugregs": (saved.debugregs, now.debugregs),
        "mp": (saved.mp_state.to_bytes(4, "little"), now.mp_state.to_bytes(4, "little")),
    }
    if saved.sregs2 is not None and now.sregs2 is not None:
        found["sregs2"] = (saved.sregs2, now.sregs2)
    if saved.lapic is not None and now.lapic is not None:
        found["lapic"] = (_timeless(saved.lapic), _timeless(now.lapic))
    if saved.nested is not None and now.nested is not None:
        size = int.from_bytes(saved.nested[4:8], "little")
        found["nested"] = (saved.nested[:size], now.nested[:size].ljust(size, b"\0"))
    return found


def _timeless(image: bytes) -> bytes:
    """An APIC page without the timer's current count."""
    made = bytearray(image)
    made[_APIC_TIMER] = bytes(4)
    return bytes(made)


def words(before: bytes, after: bytes) -> list[Any] | None:
    """The 8-byte words that differ, as recorded: the first eight and how many there are; None for none."""
    found: list[Any] = []
    count = 0
    for at in range(0, len(before), 8):
        mine, theirs = before[at : at + 8], after[at : at + 8]
        if mine != theirs:
            count += 1
            if count <= _SHOWN_WORDS:
                found.append([at, f"{int.from_bytes(mine, 'little'):x}", f"{int.from_bytes(theirs, 'little'):x}"])
    return [*found, count] if count else None


def replay(bench: Bench, records: Sequence[Record]) -> Found:
    """The answers of section ``restore``: the captures are in it."""
    made = RestoreReplay(bench, "restore")
    files: dict[str, bytes] = {}
    capture: Record = {}
    for record in records:
        match record["op"]:
            case "capture":
                capture, files = record, {}
            case "blob":
                files[record["name"]] = _blob(record)
            case "set":
                saved = saved_of(files, max(capture["khz"], 0))
                made.captured = Captured(capture["set"], saved, capture["irq"])
            case "restore":
                yield from made.answers(record)
            case "guest" | "norun":
                yield NotAsked(f"restore.{record['op']}", "guest code before a capture", 1)
            case op if op not in ("mk", "noguest"):
                yield unknown(f"restore.{op}")


def _blob(record: Record) -> bytes:
    data = base64.b64decode(record["b64"])
    if len(data) != record["size"]:
        raise RecordError(f"{record['name']} has {len(data)} bytes of {record['size']}")
    return data


def captured_elsewhere(name: str, files: Files) -> Captured:
    """What an archive has of a vCPU: its name says that the interrupt controller is split, a file its frequency."""
    irqchip = 2 if "split" in name else int("vcpu0.kvm_lapic_state.bin" in files)
    return Captured(name, saved_of(files, int(files.get("khz") or 0)), irqchip)


def foreign(captures: Callable[[str], Files | None]) -> Callable[[Bench, Sequence[Record]], Found]:
    """The answers of section ``foreign``; ``captures`` gives the files of a capture by its name."""

    def replay_foreign(bench: Bench, records: Sequence[Record]) -> Found:
        made = RestoreReplay(bench, "foreign")
        for record in records:
            if record["op"] == "foreign":
                files = captures(record["from"])
                made.captured = None if files is None else captured_elsewhere(record["from"], files)
            elif record["op"] == "restore" and made.captured:
                yield from made.answers(record)
            elif record["op"] == "restore":
                yield NotAsked("foreign.restore", "captures that are not there", 1)
            else:
                yield unknown(f"foreign.{record['op']}")

    return replay_foreign
