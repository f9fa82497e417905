"""What KVM gives to guests, bit by bit, and the first release that does: asked of KVM_GET_SUPPORTED_CPUID's table."""

from __future__ import annotations

import pytest

from inspector.machine.x86.migrate.given import first_release, gives
from inspector.machine.x86.migrate.places import Place
from tests.machine.x86_moves import silicon


def component(kind: str, number: int) -> Place:
    return Place(kind, 0xD, 0, "", number, number)


def bit(leaf: int, subleaf: int, register: str, number: int) -> Place:
    return Place("cpuid", leaf, subleaf, register, number, number)


@pytest.mark.parametrize(
    ("kind", "given", "not_given"), [("xcr0", (0, 9, 18), (3, 8, 19)), ("xss", (11, 12), (0, 10, 13, 15))]
)
def test_components_are_those_of_kvms_masks(kind: str, given: tuple[int, ...], not_given: tuple[int, ...]) -> None:
    kvm = silicon("6.18").kvm
    assert all(gives(kvm, component(kind, number)) for number in given)
    assert not any(gives(kvm, component(kind, number)) for number in not_given)


def test_bits_of_cpuid_are_those_of_the_table() -> None:
    """AVX-NE-CONVERT is in a register that 6.1 leaves zero (case 7 of __do_cpuid_func), though Linux knows the bit."""
    kvm = silicon("6.1").kvm
    assert gives(kvm, bit(1, 0, "ecx", 0))
    assert gives(kvm, bit(7, 0, "ecx", 2))
    assert not gives(kvm, bit(7, 0, "ecx", 7))
    assert not gives(kvm, bit(7, 1, "edx", 5))
    assert not gives(kvm, bit(0x8000000A, 0, "edx", 0)), "VMX has none of SVM's leaf"
    assert gives(kvm, bit(0x40000001, 0, "eax", 3)), "the last leaf of its range is one of it"
    assert not gives(kvm, bit(0x80000021, 0, "eax", 9)), "KVM makes the bit, and the CPU's leaves end before it"


@pytest.mark.parametrize(
    ("place", "on_vmx", "on_svm"),
    [
        (component("xcr0", 9), None, None),
        (component("xcr0", 17), (5, 17), (5, 17)),
        (component("xcr0", 18), (5, 17), (5, 17)),
        (component("xcr0", 40), None, None),
        (component("xss", 11), (6, 18), (6, 18)),
        (component("xss", 15), None, None),
        (bit(7, 0, "ecx", 7), (6, 18), (6, 18)),
        (bit(7, 1, "edx", 5), (6, 6), (6, 6)),
        # Every module gives INVPCID, 5.10's beside its list (vmx_set_cpu_caps).
        (bit(7, 0, "ebx", 10), None, None),
        (bit(1, 0, "ecx", 0), None, None),
        # One vendor's alone: AMX; guest mode of SVM.
        (bit(7, 0, "edx", 24), (6, 1), None),
        (bit(0x8000000A, 0, "edx", 25), None, (6, 6)),
        # AMX-FP8 is in a sub-leaf of its own; 0x1E.0 has no mask, and bit 7 of leaf 1's EBX no name.
        (bit(0x1E, 1, "eax", 4), (7, 0), None),
        (bit(0x1E, 0, "eax", 0), None, None),
        (bit(1, 0, "ebx", 7), None, None),
    ],
    ids=str,
)
def test_the_first_release(place: Place, on_vmx: tuple[int, int] | None, on_svm: tuple[int, int] | None) -> None:
    """kvm_set_cpu_caps and the vendor modules; KVM_SUPPORTED_XCR0 and XSS: AMX of guests came in 5.17."""
    assert (first_release(place, is_vmx=True), first_release(place, is_vmx=False)) == (on_vmx, on_svm)
