"""The drill of CONTRIBUTING: a component that nobody knew, told by its declaration, a kernel profile and a CPU.

Decoder and machine learn of it there alone: it is shown, simulated, in the matrix and in KVM_GET_SUPPORTED_CPUID.
"""

from __future__ import annotations

import pytest

from inspector.capture.host import Cpuid
from inspector.capture.model import Origin
from inspector.decode.fields import FieldTable
from inspector.decode.placement import table_from_cpuid
from inspector.machine.x86.host import Host, enumerated_features, shipped_cpu
from inspector.machine.x86.kvm.supported import supported_leaf_0xd
from inspector.machine.x86.world.matrix import component_rows
from inspector.machine.x86.world.world import World
from inspector.readers.xsave_area import xsave_area
from layouts.declare import Array, Int64ul, Struct
from layouts.vocabulary import Component
from layouts.x86 import xsave
from layouts.x86.kernels import profile_for

NUMBER, SIZE_BYTES, OFFSET = 20, 64, 2816
BIT = 1 << NUMBER
NEW = Component(
    NUMBER,
    "fresh",
    "a component of tomorrow",
    SIZE_BYTES,
    Struct("r" / Array(8, Int64ul) * "register"),
    "nowhere",
    feature=(1, 0, 9),
    touch="VMOVDQU",
)


def _cpu(*, enumerates: bool = True) -> Cpuid:
    """A Skylake with the component; ``enumerates``: and with the feature that Linux asks for."""
    leaves = dict(shipped_cpu("skylake-x").leaves)
    eax, _, _, edx = leaves[0xD, 0]
    size = OFFSET + SIZE_BYTES
    leaves |= {(0xD, 0): (eax | BIT, size, size, edx), (0xD, NUMBER): (SIZE_BYTES, OFFSET, 0, 0)}
    leaves |= enumerated_features(eax | (BIT if enumerates else 0))
    return Cpuid(leaves)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setitem(xsave.BY_NUMBER, NUMBER, NEW)
    return World(_host())


def _host(*, enumerates: bool = True) -> Host:
    kernel = profile_for("7.2")
    known = kernel.replaced(
        xfeature_max=NUMBER + 1,
        user_supported=kernel.user_supported | BIT,
        kvm_xcr0=kernel.kvm_xcr0 | BIT,
    )
    return Host(_cpu(enumerates=enumerates), known)


def test_it_is_kept_by_linux_and_offered_by_kvm(world: World) -> None:
    assert world.host.user_max & BIT
    assert world.host.kvm_xcr0 & BIT
    assert supported_leaf_0xd(world.process)[0][0] & BIT
    assert supported_leaf_0xd(world.process)[NUMBER][:2] == (SIZE_BYTES, OFFSET)


def test_it_is_in_the_matrix_and_can_be_touched(world: World) -> None:
    row = next(row for row in component_rows(world) if row.number == NUMBER)
    assert (row.name, row.kernel, row.permission, row.offset, row.size_bytes) == (
        "fresh",
        True,
        True,
        OFFSET,
        SIZE_BYTES,
    )
    assert row.process == "ok"
    for event in ("KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", f"KVM_SET_XCRS {BIT | 7:#x}"):
        assert world.happen(event).outcome.accepted, event
    row = next(row for row in component_rows(world) if row.number == NUMBER)
    assert (row.cpuid, row.xcr0, row.room) == (True, True, True)


def test_it_is_shown(world: World) -> None:
    table = table_from_cpuid(world.host.cpuid.xsave_table(), "CPUID")
    assert table is not None
    image = bytearray(OFFSET + SIZE_BYTES)
    xsave.HEADER_AT["xstate_bv"].store(image, BIT)
    image[OFFSET + 8] = 0x55
    area = xsave_area("xsave", "XSAVE image", bytes(image), Origin("f", 0), table, len(image))
    fields = FieldTable(area)
    (spec,) = fields.find("xsave.fresh.r[1]")
    assert fields.decode(spec).value == 0x55


def test_without_its_feature_linux_leaves_it_alone(world: World) -> None:
    assert world.host.user_max & BIT
    assert not _host(enumerates=False).user_max & BIT


def test_groups_and_masks_are_the_components() -> None:
    assert (xsave.MPX, xsave.AVX512, xsave.CET, xsave.XTILE, xsave.APX) == (0x18, 0xE0, 0x1800, 0x60000, 1 << 19)
    assert (xsave.PKRU, xsave.TILECFG, xsave.TILEDATA, xsave.DYNAMIC) == (9, 17, 18, 1 << 18)
    upto_apx = (1 << 20) - 1
    assert xsave.USER & (upto_apx | 1 << 62) == 0x4000_0000_000E_02FF
