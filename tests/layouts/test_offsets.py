"""Offsets come out of declarations: none of an XSAVE image, a KVM struct or a vector note stands outside layouts/."""

from __future__ import annotations

import ast
import struct
from pathlib import Path

import pytest

from inspector.decode import header
from layouts.files.elf_arm64 import USER_FPSIMD_STATE, USER_SVE_HEADER
from layouts.members import members
from layouts.x86 import kvm_counted as kvm
from layouts.x86.xsave import EXTENDED_OFFSET, FPX_SW_AT, HEADER_AT, HEADER_SIZE_BYTES, LEGACY_AT, LEGACY_SIZE_BYTES

ROOT = Path(__file__).parents[2]
#: Offsets of the software area and the header, and the parts that are put together from them.
OFFSETS = {416, 464, 468, 472, 480, 484, 512, 520, 528, 536, 568, 576}
#: Where such a number is no offset of an image.
OTHER_NUMBERS = {
    ("inspector/machine/arm64/arch.py", 512): "vCPUs that a VM may have with a GICv3",
    ("inspector/machine/arm64/capabilities.py", 512): "memory slots",
    ("inspector/machine/arm64/replay/records.py", 512): "bits of a set of vector lengths",
    ("inspector/machine/arm64/replay/shapes.py", 512): "bits of a set of vector lengths",
    ("inspector/machine/arm64/replay/deep/shapes.py", 512): "bits of a set of vector lengths",
    ("inspector/machine/arm64/replay/deep/sweeps.py", 512): "bits of a set of vector lengths",
    ("inspector/machine/x86/replay/programs/digest.py", 512): "the size of ZMM_Hi256, as the recorder has it",
    ("inspector/machine/x86/replay/programs/instructions.py", 512): "XSTATE_BV with PKRU alone",
    ("inspector/machine/x86/cpu/instructions/x87.py", 512): "FSW.C1",
    ("inspector/machine/x86/kvm/lapic.py", 512): "the IRR of a local APIC",
    ("inspector/machine/x86/kvm/enable_cap.py", 512): "entries of VMX's page modification log",
    ("inspector/machine/x86/kvm/cpuid_ioctls.py", 416): "IA32_MISC_ENABLE",
    ("inspector/machine/x86/kvm/msrs/common.py", 416): "IA32_MISC_ENABLE",
    ("inspector/machine/x86/replay/restore/cpuid.py", 416): "IA32_MISC_ENABLE",
    ("inspector/machine/x86/kvm/msrs/memory_types.py", 512): "MTRRs",
    ("inspector/machine/x86/kvm/msrs/memory_types.py", 528): "MTRRs",
    ("inspector/machine/x86/migrate/calls.py", 512): "MTRRs",
    ("inspector/machine/x86/migrate/calls.py", 528): "MTRRs",
    ("inspector/readers/kdump.py", 512): "a block of a disk",
    ("inspector/decode/fields.py", 512): "entries of a cache",
    ("inspector/machine/x86/kvm/msrs/table.py", 512): "the first MTRR",
    ("inspector/diff/parts.py", 512): "the width of a register in bits",
}
#: struct kvm_cpuid2 and struct kvm_msrs by hand: entries of 40 and 16 bytes behind 8.
_FORMATS = ("<7I12x", "<IIQ")


def _sources() -> list[tuple[str, ast.AST]]:
    paths = ROOT.glob("inspector/**/*.py")
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))) for path in paths]


def test_offsets_are_written_in_layouts_only() -> None:
    found, used = [], set()
    for where, tree in _sources():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or "/tui/" in where:
                continue
            if type(node.value) is int and node.value in OFFSETS:
                used.add((where, node.value))
                if (where, node.value) not in OTHER_NUMBERS:
                    found.append(f"{where}:{node.lineno}: {node.value}")
            if node.value in _FORMATS:
                found.append(f"{where}:{node.lineno}: {node.value}")
    assert not found
    assert not set(OTHER_NUMBERS) - used, "an exception that nothing needs any more"


def test_an_image_is_as_the_manual_has_it() -> None:
    """Intel SDM vol. 1, 13.4; Linux arch/x86/include/uapi/asm/sigcontext.h, struct _fpx_sw_bytes."""
    assert (LEGACY_SIZE_BYTES, HEADER_SIZE_BYTES, EXTENDED_OFFSET) == (512, 64, 576)
    assert {name: LEGACY_AT[name].offset for name in ("fcw", "mxcsr", "mxcsr_mask", "st", "xmm", "sw_xcr0")} == {
        "fcw": 0,
        "mxcsr": 24,
        "mxcsr_mask": 28,
        "st": 32,
        "xmm": 160,
        "sw_xcr0": 464,
    }
    assert [HEADER_AT[name] for name in ("xstate_bv", "xcomp_bv", "reserved")] == [(512, 8), (520, 8), (528, 48)]
    assert [at.offset for at in FPX_SW_AT.values()] == [464, 468, 472, 480, 484]
    assert FPX_SW_AT["padding"].end == LEGACY_SIZE_BYTES


def test_a_header_is_written_as_it_is_read() -> None:
    image = bytes(range(256)) * 3
    written = header.with_xcomp_bv(header.with_xstate_bv(image, 7), 1 << 63, clear=True)
    assert (header.xstate_bv(written), header.xcomp_bv(written), header.is_compacted(written)) == (7, 1 << 63, True)
    assert not any(header.reserved(written))
    assert written[:512] == image[:512]
    assert written[576:] == image[576:]
    assert (header.xstate_bv(image[:519]), header.held_xstate_bv(image[:519]), header.sw_xcr0(image[:471])) == (
        0,
        None,
        0,
    )


def test_counted_structures_are_packed_as_they_are_read() -> None:
    rows = [(0xD, 0, 1, 1, 2, 3, 4), (7, 0, 1, 5, 6, 7, 8)]
    packed = kvm.cpuid2_pack(rows)
    assert packed == struct.pack("<II", 2, 0) + b"".join(struct.pack("<7I12x", *row) for row in rows)
    assert list(kvm.cpuid2_unpack(packed)) == rows
    assert list(kvm.cpuid2_unpack(packed[:-1])) == rows[:1]
    assert list(kvm.cpuid2_unpack(b"\x02\0")) == []
    assert list(kvm.msrs_unpack(kvm.msrs_pack([(0x1C4, 0, 1 << 40)]))) == [(0x1C4, 0, 1 << 40)]
    assert kvm.xcrs_pack([(0, 0, 7)]) == struct.pack("<IIIIQ", 1, 0, 0, 0, 7).ljust(392, b"\0")


@pytest.mark.parametrize("name", sorted(kvm.COUNTED))
def test_a_counted_structure_knows_what_is_whole(name: str) -> None:
    counted = kvm.COUNTED[name]
    one = (1).to_bytes(4, "little").ljust(counted.header_size_bytes + counted.entry_size_bytes, b"\0")
    assert counted.is_whole(one)
    assert not counted.is_whole(one[:-1])
    assert not counted.is_whole(one + b"\0")
    assert not counted.is_whole(bytes(counted.header_size_bytes))


def test_the_vector_notes_of_arm64() -> None:
    """Linux arch/arm64/include/uapi/asm/ptrace.h: struct user_sve_header, struct user_fpsimd_state."""
    assert {name: at.offset for name, at in members(USER_SVE_HEADER).items()} == {
        "size": 0,
        "max_size": 4,
        "vl_bytes": 8,
        "max_vl_bytes": 10,
        "flags": 12,
        "reserved": 14,
    }
    assert [members(USER_FPSIMD_STATE)[name] for name in ("fpsr", "fpcr")] == [(512, 4), (516, 4)]
