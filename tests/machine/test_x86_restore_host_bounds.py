"""The host of recorded restores: made of its bare facts alone, and where the records are."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.capture.host import Cpuid
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.module import PVM, SVM, VMX
from inspector.machine.x86.replay.restore.bench import Bench, cleared, entry_texts, kvm_of, sections_of, without

Record = dict[str, Any]
RUNNER: Record = {"op": "runner", "emulator": "QEMU 11 TCG"}
META: Record = {"op": "meta", "release": "6.12.107+deb13-amd64", "version": "#1 SMP Debian 6.12.109-1 (2026-01-01)"}
RAW: Record = {
    "op": "rawcpuid",
    "ent": [["0", "0", 0, "16", "68747541", "444d4163", "69746e65"], ["7", "0", 1, "0", "181", "c", "2"]],
}
CPUINFO = """processor : 0 microcode : 0xa00f vmx flags : vnmi ept  bugs : spectre_v1 cpu_meltdown bogomips : 42
processor : 1 x"""


def facts(*more: Record) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in (META, RAW, *more):
        found.setdefault(record["op"], []).append(record)
    return found


def file(path: str, text: str) -> Record:
    return {"op": "file", "path": path, "text": text}


def test_a_host_of_the_fewest_facts() -> None:
    kvm = kvm_of({}, facts())
    # Debian's package has the stable number that the release's name may lack.
    assert (kvm.release, kvm.vendor, dict(kvm.parameters)) == ((6, 12, 109), SVM, {})
    processor = kvm.processor
    assert (processor.emulator, processor.microcode, processor.bugs, processor.tsc_khz) == ("", 0, None, 0)
    assert (processor.msrs, processor.features, processor.vmx_flags, processor.online_cpus) == (
        {0x10A: 0},
        {},
        frozenset(),
        1,
    )
    assert kvm.host.cpuid.leaves == {(0, 0): (0x16, 0x68747541, 0x444D4163, 0x69746E65), (7, 0): (0, 0x181, 0xC, 2)}
    assert kvm.raw.leaves == kvm.host.cpuid.leaves
    assert not kvm.host.emulated


def test_a_release_without_a_package() -> None:
    meta = {**META, "version": "#1 SMP PREEMPT_DYNAMIC"}
    assert kvm_of({}, {**facts(), "meta": [meta]}).release == (6, 12, 107)


@pytest.mark.parametrize(
    ("emulator", "name"), [("QEMU 11 TCG", "tcg"), ("Bochs 3.0", "bochs"), ("", ""), ("another", "")]
)
def test_the_emulator(emulator: str, name: str) -> None:
    kvm = kvm_of({"emulator": emulator}, facts())
    assert (kvm.processor.emulator, kvm.host.emulated) == (name, bool(name))


@pytest.mark.parametrize(
    ("modules", "vendor"),
    [(("kvm", "kvm_intel"), VMX), (("kvm_amd", "kvm"), SVM), (("kvm_pvm",), PVM), (("kvm",), SVM)],
)
def test_the_module(modules: tuple[str, ...], vendor: str) -> None:
    records = [{"op": "param", "module": name, "v": {name: "1", "both": name}} for name in modules]
    kvm = kvm_of({}, facts(*records))
    assert kvm.vendor == vendor
    assert dict(kvm.parameters) == {**dict.fromkeys(modules, "1"), "both": modules[-1]}


def test_what_cpuinfo_and_the_msrs_tell() -> None:
    rows = [["10a", 1, "4f"], ["480", 1, "11"], ["491", 1, "12"], ["492", 1, "13"], ["8b", 1, "14"]]
    kvm = kvm_of(
        {},
        facts(
            file("/proc/cpuinfo", CPUINFO),
            {"op": "featmsrs", "v": rows},
            {"op": "tsckhz", "vcpu": 2_100_000},
        ),
    )
    processor = kvm.processor
    assert (processor.microcode, processor.tsc_khz, processor.online_cpus) == (0xA00F, 2_100_000, 2)
    assert processor.bugs == {"SPECTRE_V1", "CPU_MELTDOWN"}
    assert processor.vmx_flags == {"vnmi", "ept"}
    assert (processor.msrs, processor.features) == ({0x10A: 0x4F}, {0x480: 0x11, 0x491: 0x12})


def test_linux_does_not_see_what_the_command_line_clears() -> None:
    """UMIP is 7.0.ECX[2], SMEP 7.0.EBX[7]; a number and an unknown name change nothing here."""
    line = file("/proc/cmdline", "quiet clearcpuid=umip,xyzzy clearcpuid=514,smep nosmap")
    kvm = kvm_of({}, facts(line))
    assert kvm.host.cpuid.leaves[7, 0] == (0, 0x101, 8, 2)
    assert kvm.raw.leaves[7, 0] == (0, 0x181, 0xC, 2)
    assert cleared("clearcpuid=umip,,smep x") == {"UMIP", "SMEP"}
    assert cleared("quiet") == set()


def test_a_feature_of_a_leaf_that_is_not_there() -> None:
    found = without(Cpuid({(0, 0): (1, 2, 3, 4)}), ["UMIP"])
    assert found.leaves == {(0, 0): (1, 2, 3, 4), (7, 0): (0, 0, 0, 0)}


def test_records_by_section() -> None:
    """The kernel's messages come where they come; a crash ends a section; one goes on where it is named again."""
    records = [
        {"op": "runner"},
        {"op": "insmod"},
        {"op": "section", "name": "a"},
        {"op": "x", "n": 1},
        {"op": "dmesg"},
        {"op": "x", "n": 2},
        {"op": "end", "name": "a"},
        {"op": "time"},
        {"op": "section", "name": "b"},
        {"op": "crash"},
        {"op": "section", "name": "a"},
        {"op": "x", "n": 3},
        {"op": "done"},
        {"op": "x", "n": 4},
    ]
    assert sections_of(records) == {
        "a": [{"op": "x", "n": n} for n in (1, 2, 3)],
        "b": [],
        "no section": [{"op": "x", "n": 4}],
    }


SUPPORTED: Record = {"op": "supcpuid", "name": "sup", "ent": RAW["ent"]}
HYPERV: Record = {"op": "hvcpuid", "name": "hv_sys", "ent": [["40000000", "0", 0, "1", "2", "3", "4"]]}


def test_a_bench_has_the_tables_of_its_host() -> None:
    section = [{"op": "section", "name": "host"}, META, RAW, SUPPORTED, HYPERV, {**HYPERV, "ent": []}, {"op": "end"}]
    bench = Bench("f", [RUNNER, *section])
    assert (bench.file, bench.runner, bench.is_host_borrowed, bench.cpuid, bench.enforces) == (
        "f",
        RUNNER,
        False,
        "",
        False,
    )
    assert entry_texts(bench.tables.supported) == RAW["ent"]
    assert entry_texts(bench.tables.hyperv) == HYPERV["ent"]
    assert bench.facts["hvcpuid"] == [HYPERV, {**HYPERV, "ent": []}]
    assert Bench("f", section[:4]).tables.hyperv == ()
    assert Bench("f", section[:4]).runner == {}
    assert Bench("f", [RUNNER, {"op": "borrowed-host"}, *section]).is_host_borrowed
    for missing in (1, 2, 3):
        with pytest.raises(
            InputError, match=r'^f: expected a section "host" with meta, rawcpuid and supcpuid, found none$'
        ):
            Bench("f", [*section[:missing], *section[missing + 1 :]])


def test_a_vcpu_as_its_record_says() -> None:
    bench = Bench("f", [{"op": "section", "name": "host"}, META, RAW, SUPPORTED])
    vcpu = bench.make({"op": "mk", "irq": 2, "cpuid": "sup", "quirks": "1f"})
    assert bench.vcpu is vcpu
    assert (bench.cpuid, vcpu.vm.irqchip, vcpu.vm.disabled_quirks, len(vcpu.vm.memory)) == ("sup", 2, 0x1F, 0x200000)
    assert vcpu.guest.entries == (Entry(0, 0, 0, *bench.kvm.raw.leaves[0, 0]), Entry(7, 0, 1, 0, 0x181, 0xC, 2))
    assert vcpu.guest.is_set
    bare = bench.make({"op": "mk", "irq": 0, "cpuid": ""})
    assert (bare.vm.irqchip, bare.vm.disabled_quirks, bare.guest.entries, bare.guest.is_set) == (0, 0, (), False)
    table = bench.table_of("sup")
    assert (table.entries, table.is_set) == (vcpu.guest.entries, True)
    assert (bench.table_of("").entries, bench.table_of("").is_set) == ((), False)
