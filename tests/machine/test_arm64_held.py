"""Registers of the PMU, of timers and of EL2: what reset leaves and what a write keeps, by kernel."""

from __future__ import annotations

import pytest

from inspector.machine.arm64 import el0, idregs
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.host import HAS_EL2, MTE, PMU_V3, PSCI_0_2, PTRAUTH, SVE
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from layouts.arm64.hosts import bare_hosts
from layouts.arm64.ids import encoding_of_op, sysreg_id
from layouts.arm64.kernels import kernels
from layouts.arm64.sysregs import encodings
from tests.machine.arm64 import known_host

PMU = PSCI_0_2 | PMU_V3


def vcpu_of(kernel: str, features: int = PMU, cpu: str = "max", *, nested: bool = False) -> Vcpu:
    made = from_bare(kernels()[kernel], [bare_hosts()[cpu]], nested=nested)
    vm = Vm(made)
    vm.create_vcpu(0)
    assert vm.vcpus[0].init(features).accepted
    return vm.vcpus[0]


def rid(name: str) -> int:
    return sysreg_id(encoding_of_op(encodings()[name]))


def put(vcpu: Vcpu, name: str, value: int) -> tuple[str, int]:
    """The answer, and what the register reads then."""
    outcome = vcpu.set(rid(name), value.to_bytes(8, "little"))
    return outcome.name, vcpu.get(rid(name)).value


@pytest.mark.parametrize(
    ("kernel", "reset", "ones"),
    [
        ("5.10", 0x4101_30AC, (1 << 64) - 1),
        ("6.1", 0x4101_30AC, (1 << 64) - 1),
        ("6.6", 0x3000, (1 << 64) - 1),
        ("6.12", 0x3000, 0x30FF),
        ("7.3", 0x3000, 0x30FF),
    ],
)
def test_pmcr_is_the_hosts_then_of_the_vms_counters(kernel: str, reset: int, ones: int) -> None:
    """reset_pmcr and set_pmcr: since 6.12 only N and the low eight bits change, and N is at most the host's."""
    vcpu = vcpu_of(kernel)
    assert vcpu.get(rid("PMCR_EL0")).value == reset
    assert put(vcpu, "PMCR_EL0", (1 << 64) - 1) == ("ok", ones)


def test_fewer_counters_are_the_whole_vms() -> None:
    vcpu = vcpu_of("7.2")
    vcpu.vm.create_vcpu(1)
    other = vcpu.vm.vcpus[1]
    other.init(PMU)
    put(vcpu, "PMCR_EL0", 2 << 11)
    assert other.get(rid("PMCR_EL0")).value == 2 << 11
    assert put(other, "PMCNTENSET_EL0", (1 << 64) - 1) == ("ok", 0x8000_0003)


def test_the_number_of_counters_is_the_cpus() -> None:
    assert vcpu_of("7.2", cpu="a64fx").get(rid("PMCR_EL0")).value >> 11 == 8
    assert vcpu_of("7.2", cpu="neoverse-n2").get(rid("PMCR_EL0")).value >> 11 == 20


@pytest.mark.parametrize(("kernel", "clear"), [("6.6", 3), ("6.12", 0x8000_001C), ("6.16", 3), ("7.3", 3)])
def test_a_set_written_through_its_clear_register(kernel: str, clear: int) -> None:
    """set_pmreg: bits to clear on 6.12 alone; before and since 6.16 the set itself."""
    vcpu = vcpu_of(kernel)
    assert vcpu.get(rid("PMINTENSET_EL1")).value == 0x8000_001E
    assert put(vcpu, "PMINTENCLR_EL1", 3) == ("ok", clear)
    assert vcpu.get(rid("PMINTENSET_EL1")).value == clear


def test_event_counters_have_64_bits_from_pmuv3p5_on() -> None:
    """kvm_pmc_is_64bit; Linux 6.1 has none of 64 bits."""
    wide, ones = 1 << 40 | 7, {}
    for kernel, cpu in (("6.1", "max"), ("7.2", "max"), ("7.2", "cortex-a57")):
        ones[kernel, cpu] = put(vcpu_of(kernel, cpu=cpu), "PMEVCNTR3_EL0", wide)[1]
    assert ones == {("6.1", "max"): 7, ("7.2", "max"): wide, ("7.2", "cortex-a57"): 7}


def test_pmmir_takes_only_its_value() -> None:
    vcpu = vcpu_of("7.3")
    assert put(vcpu, "PMMIR_EL1", 0) == ("ok", 0)
    assert put(vcpu, "PMMIR_EL1", 1) == put(vcpu, "PMMIR_EL1", 1 << 8) == ("EINVAL", 0)
    vcpu.vm.ran = True
    assert put(vcpu, "PMMIR_EL1", 1) == ("EBUSY", 0)


@pytest.mark.parametrize(("kernel", "reset", "written"), [("6.17", 4, 0x89AB_CDEF), ("6.18", 0, 0x0123_4567_89AB_CDEB)])
def test_istatus_is_computed_until_6_17(kernel: str, reset: int, written: int) -> None:
    """read_timer_ctl: 32 bits, and expired as soon as the comparator is not ahead; since 6.18 ISTATUS reads as 0."""
    vcpu = vcpu_of(kernel, PSCI_0_2)
    assert vcpu.get(rid("CNTV_CTL_EL0")).value == reset
    assert put(vcpu, "CNTV_CTL_EL0", 0x0123_4567_89AB_CDEF) == ("ok", written)


def test_a_nested_guests_registers() -> None:
    """MDCR_EL2.HPMN is the number of counters, HCR_EL2.E2H fixed where NV1 is not there; after a run masks hold."""
    vcpu = vcpu_of("7.2", PMU | HAS_EL2, nested=True)
    assert vcpu.get(rid("MDCR_EL2")).value == 6
    assert vcpu.get(rid("CPTR_EL2")).value == 0x22FF
    assert vcpu.get(rid("HCR_EL2")).value == 0


def test_what_a_write_hangs_on_is_all_of_it() -> None:
    """The same value with features that make the same of a register has the same outcome."""
    host = known_host("max", "7.2")
    known: dict[tuple[object, ...], tuple[str, int]] = {}
    for encoding in host.kernel.registers:
        for features in (PSCI_0_2, PSCI_0_2 | SVE, PSCI_0_2 | PTRAUTH, PMU, PSCI_0_2 | MTE):
            current = host.reset_value(encoding, features)
            for bit in range(0, 64, 5):
                asked = idregs.IdWrite(host, encoding, current ^ 1 << bit, features, current)
                written = idregs.write(asked)
                found = written.outcome.name, written.value
                assert known.setdefault((*idregs.hangs_on(asked), asked.value), found) == found


def test_what_programs_read() -> None:
    """emulate_sys_reg: visible fields, safe values of the others, SIGILL where nothing is emulated."""
    host = known_host("neoverse-v1", "7.2")
    isar0, pfr1, mmfr0 = (encoding_of_op((3, 0, 0, *place)) for place in ((6, 0), (4, 1), (7, 0)))
    assert el0.mrs(host, isar0) == host.sanitised[isar0] & ~(0xF << 24 | 0xF << 56)
    assert (el0.mrs(host, mmfr0) or 0) & 0xFFFF_FFFF == 0xFF00_0000
    assert el0.mrs(host, encoding_of_op((3, 0, 0, 0, 5))) == 1 << 31
    assert el0.mrs(host, encoding_of_op((3, 0, 0, 1, 0))) is None
    assert el0.mrs(host, pfr1) == 0, "SSBS is hidden from programs on this core"
    assert el0.mrs(known_host("neoverse-v1", "6.6"), pfr1) == 0x20


def test_aarch32_is_sigill_on_an_old_5_10() -> None:
    mvfr0 = encoding_of_op((3, 0, 0, 3, 0))
    assert el0.mrs(known_host("max", "5.10"), mvfr0) is None
    assert el0.mrs(known_host("max", "6.1"), mvfr0) is not None
