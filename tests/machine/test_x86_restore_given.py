"""What recorded restores give KVM_SET_NESTED_STATE, KVM_SET_CPUID and KVM_SET_CPUID2, as their recorder made it."""

from __future__ import annotations

import errno
import struct
from typing import Any

import pytest

from inspector.machine.x86.kvm import cpuid_ioctls
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.nested.state import NestedState
from inspector.machine.x86.replay.restore.cpuid import change
from inspector.machine.x86.replay.restore.sweeps import masks
from inspector.machine.x86.replay.restore.tables import Table, Tables, find, with_register
from tests.machine.restores import NAMES, Record, answers, bench, wrong

AMD, OLD, INTEL = NAMES
MADE: Record = {"op": "mk", "irq": 1, "cpuid": "sup", "x": "nested"}
READ: Record = {"op": "getnested", "ge": 0, "hdr": "", "size": 0}
#: An errno that no call gives.
NONE = -1


def texts(name: str, section: str, *records: Record) -> list[tuple[str, Any]]:
    """What disagrees: the texts of the answers, and what the machine says."""
    return [(each.record, each.predicted) for each in wrong(answers(name, section, records))]


# Nested state


def images(monkeypatch: pytest.MonkeyPatch, name: str, record: Record) -> list[bytes]:
    """What KVM_SET_NESTED_STATE is given for a record."""
    given: list[bytes] = []
    set_state = NestedState.set
    with monkeypatch.context() as patch:
        patch.setattr(NestedState, "set", lambda self, image: given.append(bytes(image)) or set_state(self, image))
        answers(name, "nested", [MADE, READ, {"ge": 0, "e": NONE, "got": "", **record}])
    return given


def test_a_vmcb_of_a_guest_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """AMD's APM, vol. 2, appendix B: VMRUN is intercepted, ASID 1; a long-mode CS at 8, and nothing else."""
    image, base = images(monkeypatch, AMD, {"op": "nest", "w": "guest mode, plausible vmcb"})
    assert struct.unpack_from("<HHIQ", image) == (0x101, 1, 128 + 4096, 0x20000)
    assert struct.unpack_from("<HHI", base) == (0x100, 1, 128)
    control, save = bytearray(0x400), bytearray(0xC00)
    struct.pack_into("<I", control, 0x10, 1)
    struct.pack_into("<I", control, 0x58, 1)
    struct.pack_into("<HHI", save, 0x10, 8, 0x29B, 0xFFFFFFFF)
    struct.pack_into("<Q", save, 0xD0, 0x1500)
    # CR4, CR3, CR0, DR7, DR6, RFLAGS, RIP.
    struct.pack_into("<7Q", save, 0x148, 0x620, 0x1000, 0x80050033, 0x400, 0xFFFF0FF0, 2, 0x10000)
    assert image[128:] == bytes(control + save).ljust(20000 - 128, b"\0")


def test_headers_that_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """``nestf`` changes the header; ``nestv`` has two pages behind it where there are flags, the first a VMCS12."""
    image, _ = images(monkeypatch, INTEL, {"op": "nestf", "flags": 0xFFFF, "format": 2, "size": 16384})
    assert struct.unpack_from("<HHI", image) == (0xFFFF, 2, 16384)
    tried: Record = {"op": "nestv", "vmxon": "20000", "vmcs12": "f" * 16}
    for flags, size in ((4, 128 + 8192), (0, 128)):
        image, _ = images(monkeypatch, INTEL, {**tried, "flags": flags})
        expected = (flags, 0, size, 0x20000, (1 << 64) - 1)
        assert struct.unpack_from("<HHIQQ", image) == expected
        assert struct.unpack_from("<I", image, 128) == (0x11E57ED0,)


def test_long_mode_before_nested_state() -> None:
    """Without EFER.SVME it is set at once; with it by the record behind, whose answer counts."""
    for words, efer in (("nested", 0x500), ("nested, EFER.SVME set", 0)):
        made = bench(AMD)
        replayed = answers(AMD, "nested", [{**MADE, "x": words}])
        assert (replayed, made.vcpu.efer) == ([], efer)


def test_nested_state_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nesting 7.2 has no nested state (kvm_arch_vcpu_ioctl): the recorder's buffer tells its own size."""
    monkeypatch.setattr(NestedState, "exists", False)
    header = bytes(4) + struct.pack("<I", 20000) + bytes(120)
    read: Record = {**READ, "ge": errno.EINVAL, "hdr": header.hex(), "size": 20000}
    assert texts(INTEL, "nested", MADE, read) == []


def test_the_texts_of_nested_answers() -> None:
    tried: Record = {"op": "nestf", "flags": 1, "format": 0, "size": 127, "e": NONE}
    assert texts(INTEL, "nested", MADE, READ, tried)[1:] == [("flags 1 format 0 size 127", errno.EINVAL)]


# CPUID

SMALL: Table = (
    Entry(0, 0, 0, 0x20, 1, 2, 3),
    Entry(0x1E, 0x1F, 1, 9, 0x10, 0, 0),
    Entry(0x80000008, 0, 0, 0x3030, 0, 0, 0),
)
PLACE: Record = {"f": "1e", "i": "1f", "r": "ebx", "b": "10"}
FLIPPED = [with_register(SMALL, 0x1E, 0x1F, 1, 0x10 ^ 1 << bit) for bit in range(32)]


def sent(monkeypatch: pytest.MonkeyPatch, name: str, section: str, *records: Record) -> list[Any]:
    """The tables of KVM_SET_CPUID2 and the rows of KVM_SET_CPUID, of a kernel that supports a small table."""
    given: list[Any] = []
    set_cpuid, set_cpuid2 = cpuid_ioctls.set_cpuid, cpuid_ioctls.set_cpuid2
    with monkeypatch.context() as patch:
        patch.setattr(bench(name), "tables", Tables(SMALL, ()))
        patch.setattr(cpuid_ioctls, "set_cpuid", lambda vcpu, rows: given.append(rows) or set_cpuid(vcpu, rows))
        patch.setattr(cpuid_ioctls, "set_cpuid2", lambda vcpu, rows: given.append(rows) or set_cpuid2(vcpu, rows))
        answers(name, section, records)
    return given


def test_tables_of_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places and values of records are hexadecimal; one bit, byte or set of bits is another in each table."""
    made = sent(monkeypatch, AMD, "cpuid", {"op": "cpuidbits", **PLACE, "s": "0"})
    assert made == FLIPPED
    assert sent(monkeypatch, AMD, "cpuid", {"op": "cpuidbits_new", **PLACE, "s": "0"}) == FLIPPED
    made = sent(monkeypatch, AMD, "cpuid", {"op": "cpuid_d0", "bits": [0, 2], "s": "0"})
    assert made == [with_register(SMALL, 0xD, 0, 0, value) for value in masks([0, 2])]
    made = sent(monkeypatch, AMD, "cpuid", {"op": "cpuid_80000008", "byte": 2, "b": "3030", "s": "0"})
    assert made == [with_register(SMALL, 0x80000008, 0, 0, 0x3030 | value << 16) for value in range(256)]


def test_tables_after_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """What 5.10 takes is followed by the table that was there, what is refused is not."""
    kept: Record = {"op": "setcpuid", "name": "as GET_CPUID2 gave", "e": 0}
    swept: Record = {"op": "arcpuidbits", **PLACE, "s": "0"}
    records = ({"op": "mk", "irq": 1, "cpuid": "sup"}, {"op": "run1"}, kept, swept)
    assert sent(monkeypatch, OLD, "arun", *records)[-64:] == [table for each in FLIPPED for table in (each, SMALL)]
    assert sent(monkeypatch, AMD, "arun", *records)[-32:] == FLIPPED


def test_rows_without_sub_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supported ones, zeroes behind them, and as many as asked."""
    rows = [(each.leaf, *each.values) for each in SMALL]
    records = [{"op": "setcpuid1", "nent": count, "e": 0} for count in (0, 3, 5)]
    assert sent(monkeypatch, AMD, "cpuid", *records) == [[], rows, [*rows, (0,) * 5, (0,) * 5]]


def test_what_reads_otherwise_than_it_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference that is not the recorded one is none of KVM's; without one a table reads as it was set."""
    records = [{"op": "cpuidbits", **PLACE, "s": "i"}]
    monkeypatch.setattr(bench(AMD), "tables", Tables(SMALL, ()))
    assert texts(AMD, "cpuid", *records) == [(f"1e.1f.ebx [{bit}]", "0") for bit in range(32)]
    monkeypatch.undo()
    one = find(bench(AMD).tables.supported, 1)
    assert one is not None
    swept = {"op": "cpuidbits", "f": "1", "i": "0", "r": "ecx", "b": f"{one.ecx:x}", "s": "x", "x": []}
    assert texts(AMD, "cpuid", swept) == [(f"1.0.ecx [{bit}]", "!") for bit in range(32)]


def test_an_entry_that_is_left_out_after_a_run() -> None:
    """Nothing is read back of a table that is refused."""
    records = [{"op": "mk", "irq": 1, "cpuid": "sup"}, {"op": "run1"}]
    left_out: Record = {"op": "cpuid_del", "v": [["0", "0", NONE, 0]]}
    assert texts(AMD, "arun", *records, left_out) == [("without 0.0", [errno.EINVAL, 0])]


def test_the_texts_of_tables() -> None:
    records = [{"op": "setcpuid", "name": "min", "e": NONE}, {"op": "runtime_set", "what": "long mode", "e": NONE}]
    assert [text for text, _ in texts(AMD, "cpuid", *records)] == ["min", "long mode"]


def test_xcr0_by_its_word() -> None:
    vcpu = bench(AMD).fresh(1, "sup")
    assert change(vcpu, "xcr0=207")[0] == 0
    assert vcpu.xcr0 == 0x207
