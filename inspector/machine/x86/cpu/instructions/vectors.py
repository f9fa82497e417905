"""AVX, AVX-512, protection keys and shadow stacks: one instruction of each to touch the state with."""

from __future__ import annotations

from inspector.machine.outcome import GP, UD, Outcome, Rule
from inspector.machine.x86.cpu.instructions.control import MSR_S_CET, MSR_U_CET, read
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.cpu.registers import MXCSR_MASK
from layouts.x86.xsave import AVX, CET_U, HI16_ZMM, OPMASK, PKRU, SSE, ZMM_HI256

AVX_STATE, AVX512_STATE = 0x6, 0xE6
_SSP = slice(8, 16)


def _xcr0(cpu: Processor, rule: Rule, words: str, mask: int) -> bool:
    return rule.check(f"CR4.OSXSAVE is set, XCR0 has {words}", cpu.cr4_osxsave and cpu.xcr0 & mask == mask)


def movdqu(cpu: Processor, register: int, data: bytes) -> Outcome:
    """MOVDQU of an XMM register: needs CR4.OSFXSR only, so XCR0 does not matter."""
    cpu.registers.write(SSE, 16 * register, data[:16])
    return Rule("Intel SDM vol. 2, MOVDQU", cpu.host.evidence).ok()


def vmovdqu(cpu: Processor, register: int, data: bytes) -> Outcome:
    """VMOVDQU (or another VEX write) of a YMM register, or with 16 bytes of an XMM register."""
    rule = Rule("Intel SDM vol. 2, 2.4 (VEX exceptions)", cpu.host.evidence)
    if not _xcr0(cpu, rule, "SSE and AVX", AVX_STATE):
        return rule.fault(UD)
    _put(cpu, register, data[:32])
    return rule.ok()


def vmovdqu64(cpu: Processor, register: int, data: bytes) -> Outcome:
    """VMOVDQU64 (or another EVEX write) of a ZMM register, or with 32 or 16 bytes of a shorter one."""
    rule = Rule("Intel SDM vol. 2, 2.8 (EVEX exceptions)", cpu.host.evidence)
    if not _xcr0(cpu, rule, "SSE, AVX and AVX-512", AVX512_STATE):
        return rule.fault(UD)
    if register < 16:
        _put(cpu, register, data)
    else:
        cpu.registers.write(HI16_ZMM, 64 * (register - 16), data.ljust(64, b"\0"))
    return rule.ok()


def _put(cpu: Processor, register: int, data: bytes) -> None:
    """A write of registers 0 to 15: what is behind its length becomes zero, and comes into use only if it was not."""
    live = cpu.registers
    live.write(SSE, 16 * register, data[:16])
    for component, start, size in ((AVX, 16, 16), (ZMM_HI256, 32, 32)):
        if len(data) > start or component in live.components:
            live.write(component, size * register, data[start : start + size].ljust(size, b"\0"))


def vzeroupper(cpu: Processor) -> Outcome:
    """VZEROUPPER: YMM and ZMM registers 0 to 15 above XMM become initial."""
    rule = Rule("Intel SDM vol. 2, VZEROUPPER", cpu.host.evidence)
    if not _xcr0(cpu, rule, "SSE and AVX", AVX_STATE):
        return rule.fault(UD)
    cpu.registers.clear(AVX, ZMM_HI256)
    return rule.ok()


def vzeroall(cpu: Processor) -> Outcome:
    """VZEROALL: registers 0 to 15 become initial; MXCSR stays."""
    outcome = vzeroupper(cpu)
    if outcome.accepted:
        cpu.registers.components.pop(SSE, None)
    return outcome


def ldmxcsr(cpu: Processor, value: int) -> Outcome:
    """LDMXCSR: SSE is in use afterwards, with the initial value too."""
    rule = Rule("Intel SDM vol. 2, LDMXCSR", cpu.host.evidence)
    if not rule.check("no reserved bit", not value & ~MXCSR_MASK):
        return rule.fault(GP)
    cpu.registers.write(SSE, 0, b"")
    cpu.registers.mxcsr = value
    return rule.ok()


def kmovq(cpu: Processor, register: int, value: int) -> Outcome:
    """KMOVQ of a mask register."""
    rule = Rule("Intel SDM vol. 2, KMOVQ", cpu.host.evidence)
    if not _xcr0(cpu, rule, "SSE, AVX and AVX-512", AVX512_STATE):
        return rule.fault(UD)
    cpu.registers.write(OPMASK, 8 * register, value.to_bytes(8, "little"))
    return rule.ok()


def wrpkru(cpu: Processor, value: int, ecx_edx: int = 0) -> Outcome:
    """WRPKRU; ``ecx_edx`` is what ECX or EDX has, which must be 0. XCR0[9] does not matter: only CR4.PKE."""
    rule = Rule("Intel SDM vol. 2, WRPKRU", cpu.host.evidence)
    if not rule.check("CR4.PKE is set", cpu.cr4_pke):
        return rule.fault(UD)
    if not rule.check("a 32-bit value, ECX and EDX 0", value < 1 << 32 and not ecx_edx):
        return rule.fault(GP)
    cpu.registers.write(PKRU, 0, value.to_bytes(8, "little"))
    return rule.ok()


def rdpkru(cpu: Processor) -> Outcome:
    """RDPKRU."""
    rule = Rule("Intel SDM vol. 2, RDPKRU", cpu.host.evidence)
    if not rule.check("CR4.PKE is set", cpu.cr4_pke):
        return rule.fault(UD)
    return rule.ok(int.from_bytes(cpu.registers.get(PKRU)[:4], "little"))


def _shadow_stacks(cpu: Processor) -> bool:
    return cpu.cr4_cet and bool(read(cpu, MSR_U_CET if cpu.user else MSR_S_CET) & 1)


def rdssp(cpu: Processor) -> Outcome:
    """RDSSPQ: the shadow stack pointer; without shadow stacks it changes nothing (and gives 0 here)."""
    rule = Rule("Intel SDM vol. 2, RDSSPQ", "manual")
    on = _shadow_stacks(cpu)
    rule.check("shadow stacks are on; else it is a NOP", held=True)
    return rule.ok(int.from_bytes(cpu.registers.get(CET_U)[_SSP], "little") if on else 0)


def incssp(cpu: Processor, count: int) -> Outcome:
    """INCSSPQ by up to 255 entries."""
    rule = Rule("Intel SDM vol. 2, INCSSPQ", "manual")
    if not rule.check("CR4.CET is set and the mode's SH_STK_EN", _shadow_stacks(cpu)):
        return rule.fault(UD)
    pointer = int.from_bytes(cpu.registers.get(CET_U)[_SSP], "little") + 8 * (count & 0xFF) & (1 << 64) - 1
    cpu.registers.write(CET_U, _SSP.start, pointer.to_bytes(8, "little"))
    return rule.ok(pointer)
