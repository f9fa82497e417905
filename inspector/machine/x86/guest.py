"""Instructions of the guest: what the processor and KVM's intercepts make of them.

Source: Intel SDM vol. 2 (the instructions), vol. 1, 13.14 (XFD); Linux kvm/vmx/vmx.c.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from inspector.machine.outcome import GP, NM, UD, Outcome, Rule
from inspector.machine.x86.host import DYNAMIC, TILECFG, TILEDATA, XTILE
from inspector.machine.x86.kvm import MSR_XFD, Vcpu
from inspector.machine.x86.registers import Registers

P = ParamSpec("P")
_ROWS, _ROW_BYTES, _TILES = 16, 64, 8
_TILE_BYTES = _ROWS * _ROW_BYTES
_AVX512_STATE = 0xE6
#: Palette 1, 8 tiles of 16 rows x 64 bytes.
FULL_TILECFG = bytes([1]) + bytes(15) + b"\x40\0" * 8 + bytes(16) + bytes([16] * 8) + bytes(8)


def _instruction(method: Callable[Concatenate[Guest, P], Outcome]) -> Callable[Concatenate[Guest, P], Outcome]:
    """An instruction is reached only if KVM_RUN can load the vCPU's registers."""

    @wraps(method)
    def run(guest: Guest, /, *words: P.args, **named: P.kwargs) -> Outcome:
        return guest.vcpu.check_restore() or method(guest, *words, **named)

    return run


class Guest:
    """A guest in 64-bit mode at ring 0; each instruction is one KVM_RUN."""

    def __init__(self, vcpu: Vcpu) -> None:
        self.vcpu = vcpu

    @_instruction
    def xsetbv(self, index: int, value: int) -> Outcome:
        """XSETBV always exits; KVM checks it like KVM_SET_XCRS."""
        vcpu = self.vcpu
        rule = Rule("kvm_emulate_xsetbv, __kvm_set_xcr (x86.c)")
        if not rule.check("CR4.OSXSAVE is set", vcpu.cr4_osxsave):
            return rule.fault(UD)
        self._run()
        if not vcpu.check_xcr(rule, index, value):
            return rule.fault(GP)
        return rule.ok() if vcpu.store_xcr0(rule, value) else rule.refuse(errno.EFAULT)

    @_instruction
    def xgetbv(self, index: int) -> Outcome:
        """XGETBV(0) is XCR0, XGETBV(1) what of it is in use; neither exits."""
        vcpu = self.vcpu
        rule = Rule("Intel SDM vol. 2, XGETBV")
        if not rule.check("CR4.OSXSAVE is set", vcpu.cr4_osxsave):
            return rule.fault(UD)
        live = self._run()
        return rule.ok(vcpu.xcr0 if index == 0 else vcpu.xcr0 & live.in_use)

    @_instruction
    def wrmsr(self, index: int, value: int) -> Outcome:
        """WRMSR of XFD or XFD_ERR: by KVM until XFD is passed through, then by the processor."""
        vcpu = self.vcpu
        if index == MSR_XFD and vcpu.passthrough:
            rule = Rule("Intel SDM vol. 1, 13.14 (WRMSR passed through)")
            capable = vcpu.host.xfd_capable
            live = vcpu.enter()
            if not rule.check(f"only components that can be disabled ({capable:#x})", not value & ~capable):
                vcpu.leave(live)
                return rule.fault(GP)
            vcpu.xfd = value
            vcpu.leave(live)
            return rule.ok()
        rule = Rule("kvm_set_msr_common, vmx_set_msr (x86.c, vmx.c)")
        live = vcpu.enter()
        held = vcpu.check_msr(rule, index, value, guest=True)
        stored = held and vcpu.store_msr(rule, index, value)
        vcpu.leave(live)
        if not held:
            return rule.fault(GP)
        return rule.ok() if stored else rule.refuse(errno.EFAULT)

    @_instruction
    def rdmsr(self, index: int) -> Outcome:
        """RDMSR of XFD or XFD_ERR."""
        vcpu = self.vcpu
        rule = Rule("kvm_get_msr_common (x86.c)")
        self._run()
        native = index == MSR_XFD and vcpu.passthrough
        if not native and not rule.check("the guest's CPUID has XFD", vcpu.has_xfd):
            return rule.fault(GP)
        return rule.ok(vcpu.xfd if index == MSR_XFD else vcpu.xfd_err)

    @_instruction
    def ldtilecfg(self) -> Outcome:
        """LDTILECFG of 8 full tiles: tiles become zero. XFD does not stop it."""
        return self._amx("LDTILECFG", _configure)

    @_instruction
    def tilerelease(self) -> Outcome:
        """TILERELEASE: configuration and tiles become initial. XFD does not stop it."""
        return self._amx("TILERELEASE", lambda live: live.clear(TILECFG, TILEDATA))

    @_instruction
    def tilezero(self, tile: int) -> Outcome:
        """TILEZERO of one tile."""
        return self._tile("TILEZERO", tile, bytes(_TILE_BYTES), used=False)

    @_instruction
    def tileloadd(self, tile: int, data: bytes) -> Outcome:
        """TILELOADD of 1024 bytes."""
        return self._tile("TILELOADD", tile, data, used=True)

    @_instruction
    def vmovdqu64(self, register: int, data: bytes) -> Outcome:
        """VMOVDQU64 of a ZMM register from memory."""
        vcpu = self.vcpu
        rule = Rule("Intel SDM vol. 2, 2.8 (EVEX exceptions)")
        if not rule.check("CR4.OSXSAVE is set, XCR0 has SSE, AVX and AVX-512", self._has(_AVX512_STATE)):
            self._run()
            return rule.fault(UD)
        live = vcpu.enter()
        if register < 16:
            live.write(1, 16 * register, data[:16])
            live.write(2, 16 * register, data[16:32])
            live.write(6, 32 * register, data[32:64])
        else:
            live.write(7, 64 * (register - 16), data)
        vcpu.leave(live)
        return rule.ok()

    def _has(self, mask: int) -> bool:
        return self.vcpu.cr4_osxsave and self.vcpu.xcr0 & mask == mask

    def _run(self) -> Registers:
        """A run that changes no register; what was live is given."""
        live = self.vcpu.enter()
        shown = live.copy()
        self.vcpu.leave(live)
        return shown

    def _amx(self, name: str, change: Callable[[Registers], None]) -> Outcome:
        vcpu = self.vcpu
        rule = Rule(f"Intel SDM vol. 2, {name}")
        live = vcpu.enter()
        if not rule.check("CR4.OSXSAVE is set and XCR0[18:17] = 11", self._has(XTILE)):
            vcpu.leave(live)
            return rule.fault(UD)
        change(live)
        vcpu.leave(live)
        return rule.ok()

    def _tile(self, name: str, tile: int, data: bytes, *, used: bool) -> Outcome:
        """An instruction that uses tile data: #UD, then #NM by XFD, then the configuration."""
        vcpu = self.vcpu
        rule = Rule(f"Intel SDM vol. 2, {name}; vol. 1, 13.14")
        live = vcpu.enter()
        if not rule.check("CR4.OSXSAVE is set and XCR0[18:17] = 11", self._has(XTILE)):
            vcpu.leave(live)
            return rule.fault(UD)
        if not rule.check("XFD[18] is 0", not vcpu.xfd & DYNAMIC):
            # vmx_handle_nm_fault_irqoff saves XFD_ERR; KVM queues #NM and allocates nothing.
            vcpu.xfd_err = DYNAMIC
            vcpu.leave(live)
            return rule.fault(NM)
        configured = any(live.get(TILECFG)) and tile < _TILES
        if not rule.check("the tile is configured", configured):
            vcpu.leave(live)
            return rule.fault(UD)
        live.write(TILEDATA, _TILE_BYTES * tile, data)
        live.used_tiles = live.used_tiles | 1 << tile if used else live.used_tiles & ~(1 << tile)
        vcpu.leave(live)
        return rule.ok()


def _configure(live: Registers) -> None:
    live.write(TILECFG, 0, FULL_TILECFG)
    live.clear(TILEDATA)
