"""KVM_SET_MSRS and KVM_GET_MSRS: the rules, and recorded answers of real kernels."""

from __future__ import annotations

import errno
import json
import lzma
from functools import cache
from importlib import import_module

import pytest

from inspector.machine.answer import Agreed, Answer
from inspector.machine.x86.kvm.enable_cap import enable_vcpu_cap
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.mce import setup_mce
from inspector.machine.x86.kvm.module import SVM, VMX
from inspector.machine.x86.kvm.msrs.access import (
    get_msr,
    get_msrs,
    never_takes,
    read,
    read_feature,
    set_msr,
    set_msrs,
)
from inspector.machine.x86.kvm.msrs.table import GROUPS, table_of
from inspector.machine.x86.kvm.segments import kept
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from inspector.machine.x86.migrate.places import names_of, parts_of
from inspector.machine.x86.replay.restore import hidden_msrs
from inspector.machine.x86.replay.restore.bench import Bench
from inspector.machine.x86.replay.restore.replay import sections
from layouts.x86.kernels import kernels
from layouts.x86.msr_rules import RULES, rules_for
from tests.machine.kvms import kvm_of
from tests.shared import SHARED, needs

HOSTS = SHARED / "restore/hosts"
NAMES = sorted(path.name.removesuffix(".jsonl.xz") for path in HOSTS.glob("*.xz"))
#: Hosts whose longer sections are replayed too.
LONG = ("5.10-milan", "7.2-bspr2", "7.2-milan")
TSC_AUX, SYSENTER_EIP, LSTAR, VM_CR, HWCR = 0xC0000103, 0x176, 0xC0000082, 0xC0010114, 0xC0010015
ASYNC_PF_EN, ASYNC_PF_INT, XSS, ARCH_CAPABILITIES = 0x4B564D02, 0x4B564D06, 0xDA0, 0x10A


def vcpu_of(release: str, vendor: str = SVM, *, table: bool = True, **vm: int) -> WholeVcpu:
    config = VmConfig(memory=bytearray(1 << 21), **vm)  # type: ignore[arg-type]
    vcpu = WholeVcpu(kvm_of(release, vendor), config)
    if table:
        leaves = vcpu.kvm.raw.leaves
        vcpu.set_cpuid2(tuple(Entry(leaf, subleaf, 0, *values) for (leaf, subleaf), values in leaves.items()))
    return vcpu


@cache
def bench(name: str) -> Bench:
    lines = lzma.decompress((HOSTS / f"{name}.jsonl.xz").read_bytes()).splitlines()
    return Bench(name, [json.loads(line) for line in lines])


def asked() -> list[tuple[str, str]]:
    return [(name, "msr1") for name in NAMES] + [(name, section) for name in LONG for section in ("msr2", "multi")]


def assert_agrees(found: object) -> None:
    wrong, agree = [], 0
    for each in found:  # type: ignore[attr-defined]
        if isinstance(each, Agreed):
            agree += each.accepted + each.refused
        elif isinstance(each, Answer):
            agree += each.agrees
            wrong += [] if each.agrees else [each]
    assert agree > 20
    assert len(wrong) <= agree * 0.001, wrong[:5]


@needs(HOSTS)
@pytest.mark.parametrize(("name", "section"), asked())
def test_recorded_answers_agree(name: str, section: str) -> None:
    made = bench(name)
    if section not in made.sections:
        pytest.skip(f"no section {section}")
    assert_agrees(sections()[section](made, made.sections[section]))


@needs(HOSTS)
@pytest.mark.parametrize("name", ["6.12-max", "7.2-bspr2"])
def test_recorded_answers_with_features_hidden_agree(name: str) -> None:
    assert_agrees(hidden_msrs.replay(bench(name), bench(name).sections["hide"]))


def test_each_kernel_has_its_rules() -> None:
    known = {tuple(map(int, name.split("."))) for name in kernels()}
    assert set(RULES) <= known
    for series in known - set(RULES):
        assert rules_for((*series, 0)) == rules_for((*max(at for at in RULES if at < series), 0))


def test_an_unknown_msr_is_refused_and_named() -> None:
    outcome = set_msr(vcpu_of("7.2"), 0xFFFFFFFF, 0)
    assert (outcome.verdict, outcome.name) == ("short", "0 of 1")
    assert outcome.because == "KVM of this release has the MSR 0xffffffff"


def test_ignore_msrs_takes_everything_and_keeps_nothing() -> None:
    vcpu = WholeVcpu(kvm_of("7.2", ignore_msrs="Y"), VmConfig())
    assert set_msr(vcpu, 0x1234, 77).accepted
    assert get_msr(vcpu, 0x1234).value == 0
    # A value that a known MSR refuses is refused all the same.
    assert not set_msr(vcpu, 0x277, 3).accepted


def test_an_msr_that_kvm_lists_and_a_guest_lacks_takes_0_from_6_12_on() -> None:
    assert not set_msr(vcpu_of("6.6"), 0x4D0, 0).accepted
    vcpu = vcpu_of("7.2")
    assert 0x1DB in table_of(vcpu.kvm).indexes
    assert (set_msr(vcpu, 0x1DB, 0).accepted, set_msr(vcpu, 0x1DB, 1).accepted) == (True, False)


def test_calls_count_up_to_the_first_refused_entry() -> None:
    vcpu = vcpu_of("7.2")
    outcome = set_msrs(vcpu, [(0xC0000081, 1), (0xFFFFFFFF, 0), (0xC0000084, 1)])
    assert (outcome.verdict, outcome.value, outcome.code) == ("short", 1, 3)
    assert outcome.because.startswith("entry 1, MSR 0xffffffff: ")
    assert (read(vcpu, 0xC0000081), read(vcpu, 0xC0000084)) == (1, 0)
    assert get_msrs(vcpu, [0xC0000081, 0xFFFFFFFF])[1] == (1,)
    assert set_msrs(vcpu, [(0xC0000081, 0)] * 256).code == errno.E2BIG
    assert set_msrs(vcpu, [(0xC0000081, 0)] * 255).value == 255


def test_no_cpuid_counts_as_intel_from_6_12_on() -> None:
    for release, accepted in (("6.1", True), ("6.12", False)):
        vcpu = vcpu_of(release, table=False)
        assert set_msr(vcpu, TSC_AUX, 1 << 32).accepted is accepted
    vcpu = vcpu_of("7.2")
    assert set_msr(vcpu, TSC_AUX, 0x1_0000_0005).accepted
    assert read(vcpu, TSC_AUX) == 5
    old = vcpu_of("5.10")
    assert set_msr(old, TSC_AUX, 0x1_0000_0005).accepted
    assert read(old, TSC_AUX) == 0x1_0000_0005


def test_sysenter_is_cut_for_amd_and_made_canonical() -> None:
    vcpu, none = vcpu_of("7.2"), vcpu_of("7.2", table=False)
    for each in (vcpu, none):
        assert set_msr(each, SYSENTER_EIP, 0x0000_8000_1234_5678).accepted
    assert read(vcpu, SYSENTER_EIP) == 0x12345678
    assert read(none, SYSENTER_EIP) == 0xFFFF_8000_1234_5678


def test_addresses_are_as_wide_as_the_host_from_6_12_on() -> None:
    vcpu = vcpu_of("7.2")
    assert not set_msr(vcpu, LSTAR, 1 << 47).accepted
    vcpu.kvm._had["LA57"] = True
    assert set_msr(vcpu, LSTAR, 1 << 47).accepted
    old = vcpu_of("6.1")
    old.kvm._had["LA57"] = True
    assert "CR4.LA57" in set_msr(old, LSTAR, 1 << 47).because


def test_vm_cr_stays_disabled() -> None:
    vcpu = vcpu_of("7.2")
    assert set_msr(vcpu, VM_CR, 0x10).accepted
    assert set_msr(vcpu, VM_CR, 0).accepted
    assert read(vcpu, VM_CR) == 0x10


def test_hwcr_by_release() -> None:
    old, new = vcpu_of("6.1"), vcpu_of("6.12")
    for vcpu in (old, new):
        assert set_msr(vcpu, HWCR, 1 << 18).accepted
        assert set_msr(vcpu, HWCR, 0).accepted
    assert (read(old, HWCR), read(new, HWCR)) == (1 << 18, 0)
    assert (set_msr(old, HWCR, 1 << 24).accepted, set_msr(new, HWCR, 1 << 24).accepted) == (False, True)


def test_asynchronous_faults_without_an_apic_cannot_be_set_back() -> None:
    vcpu = vcpu_of("7.2", irqchip=0)
    assert ASYNC_PF_INT in table_of(vcpu.kvm).indexes
    assert read(vcpu, ASYNC_PF_INT) == 0
    assert set_msr(vcpu, ASYNC_PF_INT, 0).because == "the local APIC is in the kernel"


def test_an_address_beyond_memory_is_refused_and_was_kept_by_5_10() -> None:
    value = 1 << 30 | 9
    for release, was in (("5.10", value), ("6.1", 0)):
        vcpu = vcpu_of(release)
        assert not set_msr(vcpu, ASYNC_PF_EN, value).accepted
        assert read(vcpu, ASYNC_PF_EN) == was


@pytest.mark.parametrize(("release", "zero"), [("5.10", False), ("6.18", False), ("6.1.192", False), ("7.2", True)])
def test_enforced_features_refuse_the_host_too(release: str, zero: bool) -> None:
    vcpu = vcpu_of(release)
    assert enable_vcpu_cap(vcpu, 190, 1).accepted
    assert set_msr(vcpu, ASYNC_PF_EN, 0).accepted is zero
    assert get_msr(vcpu, ASYNC_PF_EN).accepted is zero
    assert not set_msr(vcpu, ASYNC_PF_EN, 1).accepted


def test_xss_needs_xsaves_from_6_18_on() -> None:
    assert set_msr(vcpu_of("6.16"), XSS, 0).accepted
    assert set_msr(vcpu_of("6.18"), XSS, 0).because == "the guest's CPUID has XSAVES"


def test_feature_msrs_are_frozen_after_the_first_run() -> None:
    vcpu = vcpu_of("6.12")
    vcpu.ran = True
    present = read(vcpu, ARCH_CAPABILITIES)
    assert isinstance(present, int)
    assert set_msr(vcpu, ARCH_CAPABILITIES, present).accepted
    assert not set_msr(vcpu, ARCH_CAPABILITIES, present ^ 1).accepted
    old = vcpu_of("6.1")
    old.ran = True
    assert set_msr(old, ARCH_CAPABILITIES, present ^ 1).accepted


def test_feature_msrs_in_guest_mode_from_7_0_on() -> None:
    for release, accepted in (("6.12", True), ("7.2", False)):
        vcpu = vcpu_of(release)
        vcpu.is_guest_mode = True
        assert set_msr(vcpu, 0x345 if release == "7.2" else ARCH_CAPABILITIES, 1).accepted is accepted


def test_feature_msrs_of_the_host() -> None:
    vcpu = vcpu_of("7.2")
    assert table_of(vcpu.kvm).features == (0xC0011029, 0x8B, 0x10A, 0x345, 0xCE)
    assert read_feature(vcpu, 0xCE) == 1 << 31
    assert read_feature(vcpu, 0x8B) == 0x1000065
    assert not isinstance(read_feature(vcpu, 0x480), int)
    assert table_of(vcpu_of("6.12").kvm).features == (0xC0011029, 0x8B, 0x10A, 0x345)


def test_spec_ctrl_takes_what_the_cpu_names() -> None:
    vcpu = WholeVcpu(kvm_of("7.2", emulator=""), VmConfig())
    assert set_msr(vcpu, 0x48, 0).because == "the host's CPU has SPEC_CTRL"
    assert set_msr(vcpu_of("7.2"), 0x48, (1 << 64) - 1).accepted


def test_mtrrs_and_pat() -> None:
    vcpu = vcpu_of("7.2")
    assert not set_msr(vcpu, 0x277, 0x0302).accepted
    assert set_msr(vcpu, 0x200, 0xFFFFF000 | 6).accepted
    assert not set_msr(vcpu, 0x200, 1 << 40).accepted
    assert not set_msr(vcpu, 0x2FF, 0x400 | 2).accepted
    assert not set_msr(vcpu, 0x250, 2).accepted


def test_machine_check_banks() -> None:
    vcpu = vcpu_of("7.2")
    assert setup_mce(vcpu, 0x100010A).accepted
    assert (read(vcpu, 0x179), read(vcpu, 0x17B), read(vcpu, 0x400)) == (0x10A, (1 << 64) - 1, (1 << 64) - 1)
    assert set_msr(vcpu, 0x401, 7).accepted
    assert set_msr(vcpu, 0x428, 0).because == "MCG_CAP has the bank of 0x428"


def test_synic_defaults_cannot_be_set_until_it_is_on() -> None:
    vcpu = vcpu_of("7.2")
    assert (read(vcpu, 0x40000081), read(vcpu, 0x40000090)) == (1, 0x10000)
    assert not set_msr(vcpu, 0x40000081, 1).accepted
    assert enable_vcpu_cap(vcpu, 148).accepted
    assert set_msr(vcpu, 0x40000081, 1).accepted
    assert read(vcpu, 0x40000080) == 1


def test_x2apic_registers() -> None:
    vcpu = vcpu_of("7.2")
    assert set_msr(vcpu, 0x808, 0x20).because == "the local APIC is in the kernel, and in x2APIC mode"
    vcpu.apic_base |= 0x400
    assert set_msr(vcpu, 0x808, 0x20).accepted
    assert read(vcpu, 0x808) == 0x20
    assert not set_msr(vcpu, 0x808, 1 << 32).accepted
    assert not set_msr(vcpu, 0x802, 0).accepted
    assert set_msr(vcpu, 0x830, 5 << 32 | 0x40).accepted
    assert read(vcpu, 0x830) == 5 << 32 | 0x40


def test_intel_has_its_own() -> None:
    vcpu = vcpu_of("7.2", VMX)
    assert set_msr(vcpu, 0x3A, 5).accepted
    assert not set_msr(vcpu, 0x3A, 8).accepted
    assert not set_msr(vcpu, 0x480, 0).accepted
    assert set_msr(vcpu, 0xE1, 2).because == "bit 1 and bits 63:32 of 0x2 are 0"
    assert not set_msr(vcpu, VM_CR, 0).accepted


def test_bases_are_those_of_the_segments() -> None:
    vcpu = vcpu_of("7.2")
    assert set_msr(vcpu, 0xC0000100, 0x7000_0000_1000).accepted
    assert int.from_bytes(vcpu.segments[3][:8], "little") == 0x7000_0000_1000
    assert read(vcpu, 0xC0000100) == 0x7000_0000_1000


def test_counters_of_a_host_with_a_pmu() -> None:
    host = WholeVcpu(kvm_of("7.2", emulator="", enable_pmu="Y"), VmConfig())
    assert set_msr(host, 0xC0010000, 0x530076).accepted
    assert read(host, 0xC0010000) == 0x530076
    assert set_msr(host, 0xC0010004, 1 << 50 | 3).accepted
    assert read(host, 0xC0010004) == 3
    # Without one they are taken and dropped.
    assert set_msr(vcpu_of("7.2"), 0xC0010000, 0x530076).accepted
    assert read(vcpu_of("7.2"), 0xC0010000) == 0


def test_silicon_lists_the_msrs_that_it_has() -> None:
    amd, intel = kvm_of("7.2", emulator=""), kvm_of("7.2", VMX, emulator="")
    assert {0xC0010117, 0x1D9, 0x1DB} <= set(table_of(amd).saved)
    assert not {0x3A, 0x48, 0xC1, 0xE1} & set(table_of(amd).saved)
    assert 0xC0010117 not in table_of(intel).saved
    assert 0xC0010117 in table_of(kvm_of("7.2", VMX)).saved


def test_a_stable_update_may_list_more() -> None:
    listed = {update: 0x1DB in table_of(kvm_of(f"6.18.{update}")).saved for update in (15, 30)}
    assert listed == {15: False, 30: True}


def test_feature_msrs_without_nested_virtualization() -> None:
    vcpu = WholeVcpu(kvm_of("7.2", VMX, nested="N", ignore_msrs="Y"), VmConfig())
    assert not set(range(0x480, 0x492)) & {*table_of(vcpu.kvm).features, *table_of(vcpu.kvm).indexes}
    assert not isinstance(read_feature(vcpu, 0x480), int)
    assert read_feature(vcpu, 0x1234) == 0


def test_what_is_kept_of_hosts_and_guests_is_bounded() -> None:
    """A screen that goes from host to host, and files of any content, do not grow what is remembered without end."""
    for remembered in (table_of, kept, parts_of, names_of):
        assert remembered.cache_info().maxsize is not None


@pytest.mark.parametrize("vendor", [SVM, VMX])
def test_the_msrs_of_a_group_lie_where_the_table_says(vendor: str) -> None:
    for release in ("5.10", "6.12", "7.3"):
        kvm = kvm_of(release, vendor)
        for name, ranges in GROUPS.items():
            indexes = import_module(f"inspector.machine.x86.kvm.msrs.{name}").rules(kvm, kvm.msr_rules)
            outside = [hex(index) for index in indexes if not any(index in one for one in ranges)]
            assert not outside, name


def test_what_is_refused_in_any_state() -> None:
    kvm = kvm_of("7.2", VMX)
    assert never_takes(kvm, 0x198, 1)  # PERF_STATUS is for reading only.
    assert never_takes(kvm, 0x12345678, 1)
    assert not never_takes(kvm, LSTAR, 1 << 63)
    assert not never_takes(kvm_of("7.2", VMX, ignore_msrs="1"), 0x12345678, 1)
