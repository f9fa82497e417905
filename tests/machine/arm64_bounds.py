"""What tests of single arm64 rules need: a host of bare numbers, a vCPU on it, one question and its answer."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.machine.arm64 import guest_writes, idregs
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.host import EL1_32BIT, HAS_EL2, PMU_V3, PSCI_0_2, SVE, Host
from inspector.machine.arm64.idregs import IdWrite
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64 import id_fields as of
from layouts.arm64.hosts import BareHost
from layouts.arm64.ids import CLIDR, DFR0, ISAR0, PFR0, PFR1_AARCH32, PMCR, RegisterId, encoding_of_op, sysreg_id
from layouts.arm64.kernels import kernels
from layouts.arm64.properties import FieldPlace
from layouts.arm64.sysregs import encodings
from layouts.vocabulary import Bits


def vcpu_on(on: Host, features: int = PSCI_0_2, *, abi: str = "merged") -> Vcpu:
    """The first vCPU of a VM, initialized."""
    vm = Vm(on, abi=abi)
    assert vm.create_vcpu(0).accepted
    assert vm.vcpus[0].init(features).accepted
    return vm.vcpus[0]


def answer(outcome: Outcome) -> str:
    """The verdict's name. All checks of a yes held; of a no the last alone did not."""
    held = [check.held for check in outcome.checks]
    assert held == [True] * len(held) if outcome.accepted else held == [True] * (len(held) - 1) + [False], outcome
    return outcome.name


def put(vcpu: Vcpu, register_id: int, value: int | None) -> str:
    """KVM_SET_ONE_REG; None: a pointer that cannot be read."""
    size = RegisterId(register_id).size_bytes
    found = answer(vcpu.set(register_id, None if value is None else value.to_bytes(size, "little")))
    assert all(len(data) == RegisterId(one).size_bytes for one, data in vcpu.values.items())
    return found


def get(vcpu: Vcpu, register_id: int) -> str | int:
    """KVM_GET_ONE_REG: the register, or the errno's name."""
    outcome = vcpu.get(register_id)
    name = answer(outcome)
    if not outcome.accepted:
        return name
    assert outcome.value in (0, int.from_bytes(outcome.image, "little"))
    assert len(outcome.image) == RegisterId(register_id).size_bytes
    return int.from_bytes(outcome.image, "little")


def encoding(name: str) -> int:
    """A system register by its name."""
    return encoding_of_op(encodings()[name])


def rid(name: str) -> int:
    """The KVM id of a system register by its name."""
    return sysreg_id(encoding(name))


def ask(
    on: Host, register: int, value: int, *, features: int = PSCI_0_2, ran: bool = False, imp: bool = False
) -> tuple[str, int]:
    """The answer to a write of an ID register that holds its limit, and the register then."""
    current = on.limit(register, features)
    written = idregs.write(IdWrite(on, register, value, features, current, ran, imp))
    return answer(written.outcome), written.value


def place(register: int, bits: Bits) -> FieldPlace:
    """A field of an ID register."""
    return FieldPlace(bits.name, bits.lsb, bits.width, register="", encoding=register)


# Hosts: of bare numbers with a PMU, of a CPU's registers

U64, ALONE, BOTH = (1 << 64) - 1, 0x11, 0x12
WITH_PMU = PSCI_0_2 | PMU_V3
EVERY = PSCI_0_2 | PMU_V3 | SVE | HAS_EL2 | EL1_32BIT
#: PMCR_EL0 of the CPU: four counters, an implementer, bits that a guest writes.
HOSTS_PMCR = 0x4100_0000 | 4 << 11 | 0xFF


def pmu_host(
    kernel: str = "7.2",
    *,
    levels: int = BOTH,
    version: int = 6,
    counters: int = 4,
    registers: dict[int, bytes] | None = None,
) -> Host:
    """A host with a PMU, of four counters unless told."""
    pmcr = (HOSTS_PMCR & ~(0x1F << 11) | counters << 11).to_bytes(8, "little")
    limits = {PFR0: levels, DFR0: of.DFR0_PMUVER.put(6, version)}
    held = {sysreg_id(PMCR): pmcr, **(registers or {})}
    return Host(kernels()[kernel], limits, features=WITH_PMU | HAS_EL2, registers=held)


def pmu_vcpu(
    kernel: str = "7.2", features: int = WITH_PMU, *, levels: int = BOTH, version: int = 6, counters: int = 4
) -> Vcpu:
    """A vCPU with a PMU."""
    return vcpu_on(pmu_host(kernel, levels=levels, version=version, counters=counters), features)


def full_host(kernel: str = "7.2", limits: Mapping[int, int] | None = None, *, gic: int = 3, mte: bool = False) -> Host:
    """A host with every feature, and with a VM's MTE another CLIDR_EL1."""
    known = {PFR0: 0x1222 | 1 << 24, PFR1_AARCH32: 1 << 28, CLIDR: 0x1234, ISAR0: 0x22, **(limits or {})}
    with_mte = {CLIDR: 0x5555} if mte else None
    return Host(kernels()[kernel], known, features=EVERY, sve_vqs=0b1011, with_mte=with_mte, gic=gic)


def bare_cpu(
    registers: Mapping[int, int], vls: tuple[int, ...] = (), ccsidr: Mapping[int, int] | None = None
) -> BareHost:
    """A CPU with these registers, and AArch32 at EL0 unless they say."""
    return BareHost("cpu", {PFR0: 0x12, **registers}, vls, ccsidr or {})


def bare_host(
    registers: Mapping[int, int], kernel: str = "7.2", *, vls: tuple[int, ...] = (), gic: int = 3, nested: bool = False
) -> Host:
    """A host of one such CPU."""
    return from_bare(kernels()[kernel], [bare_cpu(registers, vls)], gic=gic, nested=nested)


def midr(part: tuple[int, int]) -> int:
    """MIDR_EL1 of an implementer and its part."""
    return of.MIDR_IMPLEMENTER.put(of.MIDR_PARTNUM.put(0, part[1]), part[0])


def msr(vcpu: Vcpu, name: str, value: int) -> str:
    """The guest's MSR of a register that it names."""
    return answer(guest_writes.write(Rule(""), vcpu, guest_writes.kept_as(encoding(name)), value))


def mrs(vcpu: Vcpu, name: str) -> str | int:
    """The guest's MRS: the value, or why there is none."""
    found = guest_writes.kept_as(encoding(name))
    value = vcpu.get(sysreg_id(found)).value
    outcome = guest_writes.read(Rule(""), vcpu, found, value)
    return outcome.value if outcome.accepted else answer(outcome)
