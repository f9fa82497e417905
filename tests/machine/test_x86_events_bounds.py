"""KVM_SET_VCPU_EVENTS: each field, each flag that brings it, each order of two checks; what reset leaves."""

from __future__ import annotations

import errno

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.module import PVM, SVM, VMX, Kvm
from inspector.machine.x86.kvm.mp_state import INIT_RECEIVED, RUNNABLE
from inspector.machine.x86.kvm.pending import (
    CAP_EXCEPTION_PAYLOAD,
    CAP_TRIPLE_FAULT_EVENT,
    VALID_NMI_PENDING,
    VALID_PAYLOAD,
    VALID_SHADOW,
    VALID_SIPI_VECTOR,
    VALID_SMM,
    VALID_TRIPLE_FAULT,
    VcpuEvents,
)
from inspector.machine.x86.kvm.whole import IRQCHIP_KERNEL, IRQCHIP_NONE, VmConfig, WholeVcpu
from layouts.x86.kernels import profile_for

#: What KVM_GET_VCPU_EVENTS always says of its fields.
TOLD = VALID_NMI_PENDING | VALID_SHADOW | VALID_SMM
VECTOR = "an exception's vector is 0 to 31, and not 2 (NMI)"


def vcpu_of(release: str = "6.12", vendor: str = SVM, *caps: int, irqchip: int = IRQCHIP_KERNEL) -> WholeVcpu:
    kvm = Kvm(Host(Cpuid({}), profile_for(release)), release=release, vendor=vendor)
    return WholeVcpu(kvm, VmConfig(irqchip=irqchip, caps=dict.fromkeys(caps, 1)))


def after(vcpu: WholeVcpu, events: VcpuEvents) -> VcpuEvents:
    """What is read back of what was set."""
    assert vcpu.pending.set(events.image()).accepted
    return VcpuEvents.read(vcpu.pending.get())


def leaving(vcpu: WholeVcpu) -> list[bool]:
    """Grows each time that nested state is left."""
    left: list[bool] = []
    vcpu.nested.leave = lambda: left.append(True)  # type: ignore[method-assign]
    return left


def test_after_reset_nothing_waits() -> None:
    vcpu = vcpu_of()
    assert VcpuEvents.read(vcpu.pending.get()) == VcpuEvents(flags=TOLD)
    assert (vcpu.pending.sipi_vector, vcpu.pending.nmi_queued) == (0, 0)
    full = VcpuEvents(1, 14, 1, 0, 7, 1, 0x31, 1, 3, 1, 2, 1, flags=TOLD, smi_pending=1)
    assert vcpu.pending.set(full.image()).accepted
    vcpu.pending.triple_fault = True
    vcpu.pending.reset()
    assert VcpuEvents.read(vcpu.pending.get()) == VcpuEvents(flags=TOLD)
    assert not vcpu.pending.triple_fault


@pytest.mark.parametrize(
    "field",
    ["has_error_code", "error_code", "interrupt_injected", "nmi_injected", "nmi_masked", "payload", "interrupt_vector"],
)
def test_each_field_comes_back_alone(field: str) -> None:
    one = VcpuEvents(**{field: 1}, flags=TOLD)
    assert after(vcpu_of(), one) == one


@pytest.mark.parametrize("vector", range(256))
def test_vectors_of_exceptions(vector: int) -> None:
    refused = vector > 31 or vector == 2
    for injected, pending in ((1, 0), (0, 1), (1, 1)):
        vcpu = vcpu_of("6.12", SVM, CAP_EXCEPTION_PAYLOAD)
        asked = VcpuEvents(injected=injected, pending=pending, vector=vector, flags=VALID_PAYLOAD)
        outcome = vcpu.pending.set(asked.image())
        assert outcome.code == (errno.EINVAL if refused else 0)
        assert not refused or outcome.because == VECTOR


@pytest.mark.parametrize("vector", [3, 4, 5, 14])
def test_bp_and_of_are_not_told(vector: int) -> None:
    """kvm_exception_is_soft; what pends is told as injected too where payloads are not the VMM's."""
    told = int(vector not in (3, 4))
    found = after(vcpu_of(), VcpuEvents(injected=1, vector=vector))
    assert (found.injected, found.pending, found.vector) == (told, 0, vector)
    with_payloads = vcpu_of("6.12", SVM, CAP_EXCEPTION_PAYLOAD)
    found = after(with_payloads, VcpuEvents(pending=1, vector=vector, flags=VALID_PAYLOAD))
    assert (found.injected, found.pending) == (0, told)
    vcpu = vcpu_of()
    vcpu.pending.pending, vcpu.pending.vector = True, vector
    found = VcpuEvents.read(vcpu.pending.get())
    assert (found.injected, found.pending) == (told, told)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ((1, 0, 1), (1, 0, 0)),
        ((0, 1, 1), (0, 1, 1)),
        ((1, 1, 1), (0, 1, 1)),
        ((1, 1, 0), (0, 1, 0)),
        ((0, 0, 1), (0, 0, 0)),
    ],
)
def test_a_payload_belongs_to_what_is_pending(given: tuple[int, int, int], kept: tuple[int, int, int]) -> None:
    """(injected, pending, has_payload); without the flag nothing is pending and no payload is there."""
    injected, pending, payload = given
    asked = VcpuEvents(injected=injected, pending=pending, vector=14, has_payload=payload, payload=9)
    found = after(vcpu_of("6.12", SVM, CAP_EXCEPTION_PAYLOAD), asked._replace(flags=VALID_PAYLOAD))
    assert (found.injected, found.pending, found.has_payload, found.payload) == (*kept, 9)
    assert found.flags == TOLD | VALID_PAYLOAD
    found = after(vcpu_of("6.12", SVM, CAP_EXCEPTION_PAYLOAD), asked)
    assert (found.injected, found.pending, found.has_payload) == (injected, 0, 0)


@pytest.mark.parametrize(("release", "known"), [("5.10", 0x1F), ("6.1", 0x3F), ("7.2", 0x3F)])
def test_each_flag(release: str, known: int) -> None:
    for bit in range(32):
        vcpu = vcpu_of(release, SVM, CAP_EXCEPTION_PAYLOAD, CAP_TRIPLE_FAULT_EVENT)
        refused = not known >> bit & 1
        outcome = vcpu.pending.set(VcpuEvents(flags=1 << bit, injected=1, vector=2).image())
        assert (outcome.because == VECTOR) is not refused, bit
        assert vcpu.pending.set(VcpuEvents(flags=1 << bit).image()).accepted is not refused


def test_the_triple_fault_comes_with_its_flag_and_capability() -> None:
    for caps, flags, given, kept in (
        ((CAP_TRIPLE_FAULT_EVENT,), VALID_TRIPLE_FAULT, 1, 1),
        ((CAP_TRIPLE_FAULT_EVENT,), VALID_TRIPLE_FAULT, 0, 0),
        ((CAP_TRIPLE_FAULT_EVENT,), 0, 1, 0),
        ((), 0, 1, 0),
    ):
        found = after(vcpu_of("6.12", SVM, *caps), VcpuEvents(triple_fault=given, flags=flags))
        assert (found.triple_fault, found.flags) == (kept, TOLD | (VALID_TRIPLE_FAULT if caps else 0))
    vcpu = vcpu_of()
    assert vcpu.pending.set(VcpuEvents(triple_fault=1, flags=VALID_TRIPLE_FAULT).image()).code == errno.EINVAL
    # What is there is not told without the capability.
    vcpu.pending.triple_fault = True
    assert VcpuEvents.read(vcpu.pending.get()).triple_fault == 0


@pytest.mark.parametrize(("vendor", "kept"), [(SVM, (0, 3, 3, 3, 3)), (VMX, (0, 1, 2, 1, 0)), (PVM, (0, 1, 2, 3, 4))])
def test_shadows_of_interrupts(vendor: str, kept: tuple[int, ...]) -> None:
    for given, expected in enumerate(kept):
        vcpu = vcpu_of("6.12", vendor)
        assert after(vcpu, VcpuEvents(shadow=given, flags=VALID_SHADOW)).shadow == expected
        assert after(vcpu, VcpuEvents(shadow=0)).shadow == expected


def test_a_soft_interrupt_is_not_told() -> None:
    for soft in (0, 1):
        found = after(vcpu_of(), VcpuEvents(interrupt_injected=1, interrupt_vector=0x31, interrupt_soft=soft))
        assert (found.interrupt_injected, found.interrupt_soft, found.interrupt_vector) == (1 - soft, 0, 0x31)


@pytest.mark.parametrize(
    ("masked", "injected", "given", "kept"),
    [(0, 0, 1, 1), (0, 0, 2, 2), (0, 0, 3, 2), (1, 0, 2, 1), (0, 1, 2, 1), (1, 1, 2, 1), (0, 0, 0, 0)],
)
def test_nmis_that_wait(masked: int, injected: int, given: int, kept: int) -> None:
    """process_nmi: two where none is on its way, else one; before 6.2 GET told whether there was any."""
    asked = VcpuEvents(nmi_masked=masked, nmi_injected=injected, nmi_pending=given, flags=VALID_NMI_PENDING)
    for release in ("5.10", "6.1", "6.6", "6.12", "7.2"):
        vcpu = vcpu_of(release)
        found = after(vcpu, asked)
        assert found.nmi_pending == (kept if vcpu.pending.rules.nmi_is_queued else int(kept != 0)), release
        assert (found.nmi_masked, found.nmi_injected) == (masked, injected)
        assert vcpu.pending.nmi_queued == 0
    # Without the flag those that wait stay.
    vcpu = vcpu_of()
    assert after(vcpu, VcpuEvents(nmi_pending=2, flags=VALID_NMI_PENDING)).nmi_pending == 2
    assert after(vcpu, VcpuEvents(nmi_pending=0)).nmi_pending == 2
    assert after(vcpu, VcpuEvents(nmi_pending=1, flags=VALID_NMI_PENDING)).nmi_pending == 1


@pytest.mark.parametrize(("release", "waits"), [("6.1", (2, 0)), ("6.6", (0, 2)), ("7.2", (0, 2))])
def test_where_an_nmi_waits(release: str, waits: tuple[int, int]) -> None:
    """In nmi_queued until somebody looks, where KVM_REQ_NMI is made."""
    vcpu = vcpu_of(release)
    assert vcpu.pending.set(VcpuEvents(nmi_pending=2, flags=VALID_NMI_PENDING).image()).accepted
    assert (vcpu.pending.nmi_pending, vcpu.pending.nmi_queued) == waits


def test_a_sipis_vector_is_for_the_local_apic() -> None:
    for irqchip, flags, kept in (
        (IRQCHIP_KERNEL, VALID_SIPI_VECTOR, 0x9A),
        (IRQCHIP_KERNEL, 0, 0),
        (IRQCHIP_NONE, VALID_SIPI_VECTOR, 0),
    ):
        vcpu = vcpu_of(irqchip=irqchip)
        # GET does not tell it.
        assert after(vcpu, VcpuEvents(sipi_vector=0x19A, flags=flags)).sipi_vector == 0
        assert vcpu.pending.sipi_vector == kept


@pytest.mark.parametrize(("release", "waits"), [("6.16", True), ("6.17", False)])
def test_no_smm_while_init_waits_until_6_17(release: str, waits: bool) -> None:
    for smm, smi, flags, state in (
        (1, 0, VALID_SMM, INIT_RECEIVED),
        (0, 1, VALID_SMM, INIT_RECEIVED),
        (1, 1, VALID_SMM, INIT_RECEIVED),
        (0, 0, VALID_SMM, INIT_RECEIVED),
        (1, 1, 0, INIT_RECEIVED),
        (1, 1, VALID_SMM, RUNNABLE),
    ):
        vcpu = vcpu_of(release)
        vcpu.mp_state = state
        outcome = vcpu.pending.set(VcpuEvents(smm=smm, smi_pending=smi, flags=flags, injected=1, vector=6).image())
        refused = waits and (smm or smi) and flags and state == INIT_RECEIVED
        assert outcome.code == (errno.EINVAL if refused else 0), (smm, smi, flags, state)
        assert vcpu.pending.injected is not bool(refused)
    vcpu.mp_state = INIT_RECEIVED
    bad = VcpuEvents(smm=1, flags=VALID_SMM, injected=1, vector=2)
    assert vcpu.pending.set(bad.image()).because == VECTOR


def test_smm_and_what_comes_with_it() -> None:
    inside = VcpuEvents(smm=1, smi_pending=1, smm_inside_nmi=1, latched_init=1, flags=VALID_SMM)
    for irqchip in (IRQCHIP_KERNEL, IRQCHIP_NONE):
        vcpu = vcpu_of(irqchip=irqchip)
        left = leaving(vcpu)
        found = after(vcpu, inside)
        latched = int(irqchip == IRQCHIP_KERNEL)
        assert (found.smm, found.smi_pending, found.smm_inside_nmi, found.latched_init) == (1, 1, 1, latched)
        assert (vcpu.is_smm, len(left)) == (True, 1)
        # The same again leaves nothing; without the flag nothing of it is looked at.
        assert after(vcpu, inside._replace(smm_inside_nmi=0)).smm_inside_nmi == 0
        assert len(left) == 1
        assert after(vcpu, VcpuEvents()).smm == 1
        assert after(vcpu, inside).smm_inside_nmi == 1
        found = after(vcpu, VcpuEvents(flags=VALID_SMM))
        assert (found.smm, found.smi_pending, found.latched_init, len(left)) == (0, 0, 0, 2)


@pytest.mark.parametrize("release", ["5.10", "6.1", "6.12", "7.2"])
def test_leaving_smm_inside_an_nmi(release: str) -> None:
    vcpu = vcpu_of(release)
    assert after(vcpu, VcpuEvents(smm=1, smm_inside_nmi=1, flags=VALID_SMM)).smm_inside_nmi == 1
    forgets = vcpu.pending.rules.leaving_smm_forgets_nmi
    assert after(vcpu, VcpuEvents(smm_inside_nmi=1, flags=VALID_SMM)).smm_inside_nmi == int(not forgets)
