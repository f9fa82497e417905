"""What a VMM sets beside CPUID, SREGS, XSAVE and MSRs: the rules, and recorded answers of real kernels."""

from __future__ import annotations

import errno
import json
import lzma
import struct
from functools import cache

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.answer import Agreed, Answer
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.capabilities import check_extension, mce_capabilities
from inspector.machine.x86.kvm.clock import set_tsc_khz, set_vm_tsc_khz
from inspector.machine.x86.kvm.enable_cap import enable_vm_cap
from inspector.machine.x86.kvm.enter import run
from inspector.machine.x86.kvm.guest_debug import INJECT_DB, set_guest_debug
from inspector.machine.x86.kvm.lapic import ENABLED, ID, LDR, X2APIC
from inspector.machine.x86.kvm.mce import set_mce, setup_mce
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm, Processor
from inspector.machine.x86.kvm.mp_state import INIT_RECEIVED, SIPI_RECEIVED, get_mp_state, set_mp_state
from inspector.machine.x86.kvm.nested.state import GIF_SET, GUEST_MODE
from inspector.machine.x86.kvm.one_reg import get_one_reg, reg_list, set_one_reg
from inspector.machine.x86.kvm.pending import VALID_PAYLOAD, VALID_SHADOW, VALID_SMM, VALID_TRIPLE_FAULT, VcpuEvents
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench
from inspector.machine.x86.replay.restore.replay import sections
from layouts.x86.capabilities import CAPABILITIES
from layouts.x86.kernels import kernels, profile_for
from layouts.x86.vcpu_rules import vcpu_rules
from tests.shared import SHARED, needs

HOSTS = SHARED / "restore/hosts"
NAMES = sorted(path.name.removesuffix(".jsonl.xz") for path in HOSTS.glob("*.xz"))
#: Hosts whose whole section ``events`` is replayed; it is the longest.
EVENTS = ("5.10-milan", "7.2-bspr2", "7.2-milan")


def kvm_of(release: str, vendor: str = SVM, **parameters: str) -> Kvm:
    """KVM of a release on a processor of which nothing is known."""
    processor = Processor(tsc_khz=2_000_000)
    host = Host(Cpuid({}), profile_for(release))
    return Kvm(host, release=release, vendor=vendor, parameters=parameters, processor=processor)


def vcpu_of(release: str, vendor: str = SVM, **vm: object) -> WholeVcpu:
    return WholeVcpu(kvm_of(release, vendor), VmConfig(**vm))  # type: ignore[arg-type]


@cache
def bench(name: str) -> Bench:
    lines = lzma.decompress((HOSTS / f"{name}.jsonl.xz").read_bytes()).splitlines()
    return Bench(name, [json.loads(line) for line in lines])


def asked() -> list[tuple[str, str]]:
    own = ("dbg", "mp", "lapic", "nested", "misc", "run")
    return [(name, section) for name in NAMES for section in own] + [(name, "events") for name in EVENTS]


@needs(HOSTS)
@pytest.mark.parametrize(("name", "section"), asked())
def test_recorded_answers_agree(name: str, section: str) -> None:
    made = bench(name)
    if section not in made.sections:
        pytest.skip(f"no section {section}")
    wrong, agree = [], 0
    for found in sections()[section](made, made.sections[section]):
        if isinstance(found, Agreed):
            agree += found.accepted + found.refused
        elif isinstance(found, Answer):
            agree += found.agrees
            wrong += [] if found.agrees else [found]
    assert agree > 90
    assert len(wrong) <= agree * 0.001, wrong[:5]


def test_each_kernel_has_the_rules_of_the_last_that_changed_them() -> None:
    found = {name: vcpu_rules(name) for name in kernels()}
    rules = list(dict.fromkeys(found.values()))
    assert [rules.index(one) for one in found.values()] == sorted(rules.index(one) for one in found.values())
    assert len(rules) == 5
    assert found["6.16"] == found["6.12"] != found["6.17"]
    assert vcpu_rules("99.0") == found[list(found)[-1]]


def test_a_vector_is_checked_only_where_there_is_an_exception() -> None:
    vcpu = vcpu_of("7.2")
    assert vcpu.pending.set(VcpuEvents(vector=200).image()).accepted
    refused = vcpu.pending.set(VcpuEvents(vector=200, injected=1).image())
    assert (refused.code, refused.because) == (errno.EINVAL, "an exception's vector is 0 to 31, and not 2 (NMI)")
    assert not vcpu.pending.set(VcpuEvents(vector=2, injected=1).image()).accepted


def test_a_payload_needs_its_capability() -> None:
    pending = VcpuEvents(vector=14, pending=1, has_payload=1, payload=0x1000, flags=VALID_PAYLOAD).image()
    assert not vcpu_of("6.12").pending.set(pending).accepted
    vcpu = vcpu_of("6.12", caps={164: 1})
    assert vcpu.pending.set(pending).accepted
    assert VcpuEvents.read(vcpu.pending.get()).payload == 0x1000


def test_a_triple_fault_without_its_capability_is_refused_after_the_rest_was_taken() -> None:
    vcpu = vcpu_of("6.1")
    events = VcpuEvents(interrupt_injected=1, interrupt_vector=0x31, flags=VALID_TRIPLE_FAULT)
    assert vcpu.pending.set(events.image()).code == errno.EINVAL
    assert VcpuEvents.read(vcpu.pending.get()).interrupt_vector == 0x31
    assert "no flags but 0x1f" in vcpu_of("5.10").pending.set(events.image()).because


@pytest.mark.parametrize(("vendor", "shadow"), [(SVM, 3), (VMX, 1)])
def test_an_interrupt_shadow_reads_as_the_vendor_keeps_it(vendor: str, shadow: int) -> None:
    vcpu = vcpu_of("7.2", vendor)
    vcpu.pending.set(VcpuEvents(shadow=3, flags=VALID_SHADOW).image())
    assert VcpuEvents.read(vcpu.pending.get()).shadow == shadow


def test_init_is_refused_in_smm_until_6_17() -> None:
    for release, accepted in (("6.16", False), ("6.18", True)):
        vcpu = vcpu_of(release)
        vcpu.pending.set(VcpuEvents(smm=1, flags=VALID_SMM).image())
        assert set_mp_state(vcpu, INIT_RECEIVED).accepted is accepted


def test_any_mp_state_was_taken_by_5_10() -> None:
    assert set_mp_state(vcpu_of("5.10"), 77).accepted
    assert set_mp_state(vcpu_of("6.1"), 77).because == "a state that KVM knows: 0 to 4, 9"
    assert not set_mp_state(vcpu_of("7.2", irqchip=0), INIT_RECEIVED).accepted


def test_a_sipi_starts_the_vcpu_when_its_state_is_read() -> None:
    vcpu = vcpu_of("7.2")
    assert set_mp_state(vcpu, SIPI_RECEIVED).accepted
    assert vcpu.mp_state == INIT_RECEIVED
    assert get_mp_state(vcpu) == 0


def test_the_x2apic_id_is_the_vcpus_from_6_12_on() -> None:
    for release, expected in (("6.1", 7), ("6.12", 5)):
        vcpu = WholeVcpu(kvm_of(release), VmConfig(), vcpu_id=5)
        lapic = vcpu.lapic
        assert lapic is not None
        before, vcpu.apic_base = vcpu.apic_base, 0xFEE00000 | ENABLED | X2APIC
        lapic.base_changed(before, vcpu.apic_base)
        state = bytearray(lapic.get())
        state[ID : ID + 4] = (7 << 24).to_bytes(4, "little")
        assert lapic.set(bytes(state)).accepted
        assert lapic.get()[ID : ID + 4] == (expected << 24).to_bytes(4, "little")
        assert lapic.get()[LDR] == 1 << expected
        vcpu.vm.caps[129] = 1
        assert lapic.set(bytes(state)).because == "with 32-bit IDs the ID is the vCPU's (5)"


def test_nested_state_without_svme() -> None:
    for release, accepted in (("6.18", False), ("7.0", True)):
        vcpu = vcpu_of(release)
        header = (0).to_bytes(2, "little") + (1).to_bytes(2, "little") + (128).to_bytes(4, "little")
        assert vcpu.nested.set(header.ljust(128, b"\0")).accepted is accepted
    code, image = vcpu_of("7.2").nested.get(128)
    assert (code, image[:2]) == (0, GIF_SET.to_bytes(2, "little"))


def test_the_other_vendors_nested_state_is_refused() -> None:
    _, image = vcpu_of("7.2", VMX).nested.get(20000)
    assert vcpu_of("7.2").nested.set(image).because == "the format is 1"
    assert vcpu_of("7.2", VMX).nested.set(image).accepted
    guest = (GUEST_MODE).to_bytes(2, "little") + image[2:]
    assert vcpu_of("7.2", VMX).nested.set(guest).because == "without VMXON no flags but EVMCS"


def test_there_is_no_nested_state_without_the_parameter_from_7_2_on() -> None:
    for release, expected in (("7.1", 0), ("7.2", errno.EINVAL)):
        assert WholeVcpu(kvm_of(release, nested="0")).nested.get(20000)[0] == expected


def test_a_slower_tsc_needs_scaling() -> None:
    vcpu = vcpu_of("7.2")
    assert set_tsc_khz(vcpu, 2_000_400).accepted
    assert "only a faster TSC" in set_tsc_khz(vcpu, 1_900_000).because
    assert vcpu.tsc_khz == 1_900_000
    assert set_tsc_khz(WholeVcpu(kvm_of("7.2", tsc_scaling="1")), 1_900_000).accepted
    assert set_vm_tsc_khz(vcpu.kvm, 1, has_vcpus=True).code == errno.EINVAL
    assert set_vm_tsc_khz(kvm_of("5.10"), 1, has_vcpus=True).code == errno.ENOTTY


def test_capabilities_by_release_and_vm() -> None:
    assert [one.number for one in CAPABILITIES] == sorted({one.number for one in CAPABILITIES})
    assert 70 not in check_extension(kvm_of("6.17"))
    assert check_extension(kvm_of("6.18"))[70] == 1
    assert check_extension(kvm_of("7.2"))[129] == 0xF
    assert check_extension(kvm_of("7.2"), VmConfig())[129] == 0xB
    assert mce_capabilities(kvm_of("7.2", VMX)) == 0x9000500


def test_exits_are_disabled_before_vcpus_from_6_16_on() -> None:
    for release, accepted in (("6.12", True), ("6.16", False)):
        assert enable_vm_cap(kvm_of(release), VmConfig(), 143, 2).accepted is accepted
    assert enable_vm_cap(kvm_of("7.2"), VmConfig(), 121, 24).code == errno.EEXIST


def test_a_debug_exception_is_injected_once() -> None:
    vcpu = vcpu_of("7.2")
    assert set_guest_debug(vcpu, 1 | INJECT_DB).accepted
    assert set_guest_debug(vcpu, 1 | INJECT_DB).code == errno.EBUSY


def test_machine_checks_have_banks() -> None:
    vcpu = vcpu_of("7.2")
    assert setup_mce(vcpu, 0x21).because == "1 to 32 banks"
    assert setup_mce(vcpu, 0x10A).accepted
    assert set_mce(vcpu, 10, 1 << 63).because == "the bank is one of the guest's 10"
    assert not set_mce(vcpu, 0, 0).accepted


def test_what_kvm_run_says_before_the_guest_runs() -> None:
    vcpu = vcpu_of("7.2", memory=bytearray(0x200000))
    set_mp_state(vcpu, INIT_RECEIVED)
    assert (run(vcpu).code, run(vcpu).because) == (errno.EINTR, "MP state 2 waits for an event")
    vcpu = vcpu_of("7.2", memory=bytearray(0x200000))
    vcpu.pending.set(VcpuEvents(smi_pending=1, flags=VALID_SMM).image())
    assert run(vcpu).code == errno.EIO
    vcpu = vcpu_of("6.1", memory=bytearray(0x200000))
    vcpu.pending.set(VcpuEvents(latched_init=1, flags=VALID_SMM).image())
    found = run(vcpu)
    assert (found.exit_reason, found.suberror, found.words, found.rip) == (17, 1, 6, 0xFFF0)


@pytest.mark.parametrize(
    ("release", "injected", "told"),
    [
        ("6.12", False, (errno.EINTR, 10, 0, 0)),
        ("6.16", False, (0, 17, 3, 5)),
        ("6.18", False, (0, 17, 3, 5)),
        ("7.0", False, (errno.EINTR, 10, 0, 0)),
        ("7.2", True, (0, 17, 3, 5)),
    ],
)
def test_page_tables_outside_memory(release: str, injected: bool, told: tuple[int, ...]) -> None:
    """Nothing is emulated while an event is delivered from 6.14 on; from 7.0 on a second fault is asked that first."""
    vcpu = vcpu_of(release, memory=bytearray(0x200000))
    vcpu.cr0, vcpu.cr3 = 0x8000_0001, 0x4000_0000
    vcpu.idt = struct.pack("<QH6x", 0, 0xFFFF)
    vcpu.regs.set(struct.pack("<18Q", *[0] * 16, 0x10000, 2))
    if injected:
        vcpu.pending.set(VcpuEvents(injected=1, vector=14).image())
    found = run(vcpu)
    assert (found.code, found.exit_reason, found.suberror, found.words) == told


def test_one_reg_is_of_6_18_and_of_shadow_stacks() -> None:
    assert get_one_reg(vcpu_of("6.17"), 0x2030000200000010).because.endswith("(from 6.18 on)")
    assert get_one_reg(vcpu_of("7.2"), 0x2030000200000010).accepted
    assert get_one_reg(vcpu_of("7.2"), 0x2020000200000010).because == "64 bits"
    assert set_one_reg(vcpu_of("7.2"), 0x2030000300000000, 0).because == "the guest has shadow stacks"
    assert reg_list(vcpu_of("7.2"), 0)[1] == ()
