"""Recorded answers of KVM's ioctls: capabilities, CPUID, XCR0, MSRs, XSAVE images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from inspector.decode.header import with_xstate_bv, xstate_bv
from inspector.machine.answer import RecordError
from inspector.machine.shapes import ERRNO, U64
from inspector.machine.x86.cpu.instructions.control import MSR_XFD, MSR_XFD_ERR, MSR_XSS
from inspector.machine.x86.kvm.supported import named_cpuid, supported_leaf_0xd, supported_leaf_7, xsave2_capability
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.replay.process import Found, Kinds, ProcessReplay, Record
from layouts.members import Member
from layouts.x86.xsave import DYNAMIC, HEADER_AT, LEGACY_AT, XCOMP_COMPACTED, XTILE

#: What the recorder calls tables that have another name here.
OTHER_NAMES = {"supported-again": "supported", "amx-forced": "amx"}
#: The first and the last 8 bytes of the header's reserved ones.
_FIRST_RESERVED = Member(HEADER_AT["reserved"].offset, 8)
_LAST_RESERVED = Member(HEADER_AT["reserved"].end - 8, 8)
#: Bits of XSTATE_BV, and bytes, that a changed image has: offset, value, size.
BV_BITS = {
    "bv+bit19": 1 << 19,
    "bv+bit3": 1 << 3,
    "bv+bit63": 1 << 63,
    "bv+amx": XTILE,
    "bv+pt8": 1 << 8,
    "bv+pasid10": 1 << 10,
    "bv+cetu11": 1 << 11,
}
FIELDS: dict[str, tuple[Member, int]] = {
    "bv=0": (HEADER_AT["xstate_bv"], 0),
    "xcomp_bv63": (HEADER_AT["xcomp_bv"], XCOMP_COMPACTED),
    "xcomp_bv=1": (HEADER_AT["xcomp_bv"], 1),
    "res528": (_FIRST_RESERVED, 1),
    "res568": (_LAST_RESERVED, 1),
    "mxcsr_res": (LEGACY_AT["mxcsr"], 0xFFFFFFFF),
    "sw464": (LEGACY_AT["sw_xcr0"], 0x1234567890ABCDEF),
}


class KvmReplay:
    """The VM that records are about: a new one when ``ctx`` goes to or from ``perm``."""

    def __init__(self, processes: ProcessReplay) -> None:
        self.processes = processes
        self.context = ""
        self._vcpu: Vcpu | None = None
        self.good_image: bytes | None = None

    def kinds(self) -> Kinds:
        """The functions by kind of record."""
        return {
            "kvmcaps": self._kvmcaps,
            "vmcap": self._vmcap,
            "kvmcpuid": self._kvmcpuid,
            "setcpuid": self._setcpuid,
            "setxcr0-before-cpuid": self._set_xcr0_before_cpuid,
            "msr": self._msr,
            "xcr0sweep": self._xcr0sweep,
            "setmsr": self._setmsr,
            "getxsave": self._getxsave,
            "getxsave2": self._getxsave2,
            "setxsave": self._setxsave,
            "xfd-then-setxsave": self._xfd_then_setxsave,
            "xcr0=7-then-setxsave": self._xcr0_then_setxsave,
        }

    @property
    def vcpu(self) -> Vcpu:
        """The vCPU; made on first use, which locks the guest permission."""
        if self._vcpu is None:
            self._vcpu = Vcpu(self.processes.process)
        return self._vcpu

    def _kvmcaps(self, record: Record) -> Iterator[Found]:
        self.processes.enter(record["ctx"])
        self._vcpu = None
        self.good_image = None
        process = self.processes.process
        supported = process.host.kvm_xcr0
        expected = [record["xsave2"], record["guest_supp_err"], record["guest_supp"]]
        predicted: list[object] = [xsave2_capability(process), 0, f"{supported:x}"]
        # KVM_CAP_XSAVE is any host's, KVM_CAP_XCRS one's that has XSAVE.
        for name, has in (("xsave", True), ("xcrs", bool(supported))):
            if name in record:
                expected.append(record[name])
                predicted.append(int(has))
        yield expected, predicted, True, "kvm_vm_ioctl_check_extension"
        self._vcpu = Vcpu(process)

    def _vmcap(self, record: Record) -> Iterator[Found]:
        predicted = xsave2_capability(self.processes.process)
        yield record["xsave2"], predicted, True, "kvm_vm_ioctl_check_extension"

    def _kvmcpuid(self, record: Record) -> Iterator[Found]:
        self.processes.enter(record["ctx"])
        process = self.processes.process
        mine = supported_leaf_7(process.host) if record["leaf"] == 7 else supported_leaf_0xd(process).get(record["sub"])
        yield record["r"], None if mine is None else list(mine), True, "__do_cpuid_func"

    def _setcpuid(self, record: Record) -> Iterator[Found]:
        name = str(record["with"])
        table = named_cpuid(self.processes.process, OTHER_NAMES.get(name, name))
        outcome = self.vcpu.set_cpuid(table)
        yield record["err"], outcome.code, record["err"] == 0, outcome.because
        self.vcpu.cr4_osxsave = True

    def _set_xcr0_before_cpuid(self, record: Record) -> Iterator[Found]:
        vcpu = Vcpu(self.processes.process)
        for value, expected in record.items():
            if value not in ("t", "ctx"):
                if not (U64.holds(value) and ERRNO.holds(expected)):
                    raise RecordError(f"{record['t']}, {value!r}: {expected!r}")
                outcome = vcpu.set_xcrs((0, int(value, 16)))
                yield expected, outcome.code, expected == 0, outcome.because

    def _msr(self, record: Record) -> Iterator[Found]:
        vcpu = self.vcpu
        expected = [record["xfd_ret"], record["xfd"], record["err_ret"], record["xfd_err"]]
        yield expected, [1, f"{vcpu.xfd:x}", 1, f"{vcpu.xfd_err:x}"], True, "kvm_get_msr_common"

    def _xcr0sweep(self, record: Record) -> Iterator[Found]:
        accepted = {int(value, 16) for value in record["ok"]}
        bits = record["bits"]
        codes: Counter[str] = Counter()
        swept = [sum(1 << bit for at, bit in enumerate(bits) if number >> at & 1) for number in range(1 << len(bits))]
        for value in (*swept, *sorted(accepted.difference(swept))):
            outcome = self.vcpu.set_xcrs((0, value))
            codes[str(outcome.code)] += 1
            yield value in accepted, outcome.accepted, value in accepted, f"{value:#x}: {outcome.because}"
        if "hist" in record:
            yield record["hist"], dict(codes), True, "how often each errno"

    def _setmsr(self, record: Record) -> Iterator[Found]:
        vcpu = self.vcpu
        value = int(record["val"], 16)
        for name, index in (("xfd", MSR_XFD), ("xfd_err", MSR_XFD_ERR), ("xss", MSR_XSS)):
            outcome = vcpu.set_msr(index, value)
            expected = [record[name], record[f"{name}_now"]]
            predicted = [int(outcome.accepted), f"{getattr(vcpu, name):x}"]
            yield expected, predicted, record[name] == 1, f"{name}: {outcome.because}"

    def _getxsave2(self, record: Record) -> Iterator[Found]:
        outcome = self.vcpu.get_xsave2()
        yield [record["err"], record["size"]], [outcome.code, len(outcome.image)], record["err"] == 0, outcome.because

    def _getxsave(self, record: Record) -> Iterator[Found]:
        outcome = self.vcpu.get_xsave()
        yield record["err"], outcome.code, record["err"] == 0, outcome.because

    def _setxsave(self, record: Record) -> Iterator[Found]:
        """A single change to a good image. What the guest had put there, the record of the unchanged one tells."""
        vcpu, case = self.vcpu, record["case"]
        if case == "asis" and self.good_image is None:
            self.good_image = with_xstate_bv(vcpu.user_image(), int(record["bv_after"], 16))
            outcome = vcpu.set_xsave(self.good_image)
            yield record["err"], outcome.code, record["err"] == 0, outcome.because
            return
        image = bytearray(self.good_image or vcpu.user_image())
        if case in BV_BITS:
            HEADER_AT["xstate_bv"].store(image, xstate_bv(image) | BV_BITS[case])
        elif case in FIELDS:
            member, value = FIELDS[case]
            member.store(image, value)
        elif case != "asis":
            raise ValueError(f"setxsave case {case!r}")
        outcome = vcpu.set_xsave(bytes(image))
        expected = [record["err"], record["bv_after"]]
        yield expected, [outcome.code, f"{vcpu.visible_bv:x}"], record["err"] == 0, outcome.because

    def _xfd_then_setxsave(self, record: Record) -> Iterator[Found]:
        vcpu = self.vcpu
        first = vcpu.set_msr(MSR_XFD, DYNAMIC)
        yield record["setmsr"], int(first.accepted), record["setmsr"] == 1, first.because
        image = self.good_image or vcpu.user_image()
        outcome = vcpu.set_xsave(image)
        same = vcpu.visible_bv == xstate_bv(image)
        expected = [record["set"], record["bv_after"], record["same"]]
        yield expected, [outcome.code, f"{vcpu.visible_bv:x}", int(same)], record["set"] == 0, outcome.because

    def _xcr0_then_setxsave(self, record: Record) -> Iterator[Found]:
        vcpu = self.vcpu
        first = vcpu.set_xcrs((0, 7))
        image = vcpu.user_image()
        outcome = vcpu.set_xsave(image)
        bv = xstate_bv(image)
        expected = [record["setxcr"], record["bv"], record["set"]]
        yield expected, [first.code, f"{bv:x}", outcome.code], record["set"] == 0, outcome.because
