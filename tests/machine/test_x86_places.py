"""Where bits of a move are, as JSON has it, what they are called, and how two hosts' go together."""

from __future__ import annotations

import pytest

from inspector.machine.x86.migrate.places import Place, names_of, rule_of


@pytest.mark.parametrize(
    ("place", "text", "name"),
    [
        (Place("cpuid", 7, 0, "ebx", 16, 16), "CPUID.7.0.EBX[16]", "avx512f"),
        (Place("cpuid", 0x80000008, 0, "eax", 7, 0), "CPUID.80000008.0.EAX[7:0]", "physical address width"),
        (Place("cpuid", 0x24, 0, "ebx", 7, 0), "CPUID.24.0.EBX[7:0]", "version of AVX10"),
        (Place("cpuid", 0x1D, 1, "eax", 31, 0), "CPUID.1D.1.EAX[31:0]", "bytes of a tile palette and of a tile"),
        (Place("cpuid", 0x1D, 2, "eax", 31, 0), "CPUID.1D.2.EAX[31:0]", "CPUID.1D.2.EAX[31:0]"),
        (Place("msr", 0x10A, 0, "", 5, 5), "MSR.10A[5]", "mds-no"),
        # Of VMX's controls QEMU names what may be 1, which is the upper half.
        (Place("msr", 0x48B, 0, "", 33, 33), "MSR.48B[33]", "vmx-ept"),
        (Place("msr", 0x48B, 0, "", 1, 1), "MSR.48B[1]", "IA32_VMX_PROCBASED_CTLS2 bit 1"),
        (Place("msr", 0x48C, 0, "", 6, 6), "MSR.48C[6]", "vmx-page-walk-4"),
        (Place("xcr0", 0xD, 0, "", 18, 18), "XCR0[18]", "xtiledata"),
        (Place("xss", 0xD, 0, "", 40, 40), "XSS[40]", "component 40"),
        (Place("xstate", 0xD, 9, "ebx", 31, 0), "CPUID.D.9.EBX[31:0]", "offset of pkru"),
    ],
)
def test_a_place_is_written_and_named(place: Place, text: str, name: str) -> None:
    assert (str(place), names_of(place)[0]) == (text, name)


@pytest.mark.parametrize(
    ("place", "of_hosts", "of_lines"),
    [
        (Place("cpuid", 7, 0, "ecx", 3, 3), "and", "and"),
        # A duty is told where any host needs it.
        (Place("cpuid", 7, 0, "edx", 10, 10), "or", "or"),
        (Place("msr", 0x10A, 0, "", 17, 17), "or", "or"),
        (Place("msr", 0x10A, 0, "", 0, 0), "and", "and"),
        # OSXSAVE follows CR4 on any line; MONITOR is the line's.
        (Place("cpuid", 1, 0, "ecx", 27, 27), "ignore", "ignore"),
        (Place("cpuid", 1, 0, "ecx", 3, 3), "ignore", "and"),
    ],
)
def test_how_a_bit_goes_together(place: Place, of_hosts: str, of_lines: str) -> None:
    assert (rule_of(place), rule_of(place, by_line=True)) == (of_hosts, of_lines)
