"""Segments as the vendor and its parameter keep them."""

from __future__ import annotations

import pytest

from inspector.machine.x86.kvm import segments, sregs
from inspector.machine.x86.kvm.module import SVM, VMX
from inspector.machine.x86.kvm.segments import Segment
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from tests.machine.sregs import (
    kvm_of,
)


@pytest.mark.parametrize(("vendor", "parameters"), [(SVM, {}), (VMX, {}), (VMX, {"unrestricted_guest": "0"})])
def test_the_vendor_and_its_parameter_keep_the_segments(vendor: str, parameters: dict[str, str]) -> None:
    vcpu = WholeVcpu(kvm_of("6.12", vendor, **parameters), VmConfig())
    image = bytearray(sregs.get_sregs(vcpu))
    given = Segment(*(0,) * 12)._replace(present=1, g=1)
    image[24:48] = given.image()
    assert sregs.set_sregs(vcpu, bytes(image)).accepted
    accessed = int(vendor == SVM or not parameters)
    assert vcpu.segments[1] == given._replace(type=accessed, g=int(vendor == VMX)).image()


def kept(name: str, *, svm: bool, unrestricted: bool = True, **fields: int) -> Segment:
    given = Segment(*(0,) * 12)._replace(**fields)
    image = segments.kept(name, given.image(), svm=svm, unrestricted=unrestricted)
    assert image[-1] == 0
    return Segment.of(image)


@pytest.mark.parametrize("name", segments.SEGMENTS)
def test_segments_of_svm(name: str) -> None:
    """The VMCB has no unusable bit, and the limit says the granularity; TR is busy, data segments are accessed."""
    accessed = {"tr": 2}.get(name, int(name in ("ds", "es", "fs", "gs")))
    there = kept(name, svm=True, present=1, db=1, limit=0xFFFFF)
    assert (there.present, there.unusable, there.g, there.db, there.type) == (1, 0, 0, 1, accessed)
    assert kept(name, svm=True, present=1, limit=0x100000).g == 1
    for absent in ({"present": 0}, {"present": 1, "unusable": 1}):
        found = kept(name, svm=True, db=1, **absent)
        assert (found.present, found.unusable, found.db) == (0, 1, int(name != "ss"))
        assert found.type == (2 if name == "tr" else 0)


@pytest.mark.parametrize("name", segments.SEGMENTS)
def test_segments_of_vmx(name: str) -> None:
    for unrestricted in (True, False):
        accessed = int(unrestricted and name != "ldt")
        there = kept(name, svm=False, unrestricted=unrestricted, present=1, g=1)
        assert (there.present, there.unusable, there.type, there.g) == (1, 0, accessed, 1)
        for absent in ({"present": 0}, {"present": 1, "unusable": 5}):
            found = kept(name, svm=False, unrestricted=unrestricted, **absent)
            assert (found.present, found.unusable, found.type) == (0, 1, accessed)


def test_what_a_segments_field_has_room_for() -> None:
    found = kept("cs", svm=True, type=0xFF, present=3, dpl=7, db=3, s=3, l=3, avl=3)
    assert (found.type, found.present, found.dpl, found.db, found.s, found.l, found.avl) == (15, 1, 3, 1, 1, 1, 1)
