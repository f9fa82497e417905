"""Section ``xsave``: XCR0, XSAVE images, the FPU structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked, unknown
from inspector.machine.x86.kvm import xcrs, xsave
from inspector.machine.x86.kvm.supported import KVM_XSAVE_SIZE_BYTES, xsave2_capability
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.structs import Struct, StructSweeps
from inspector.machine.x86.replay.restore.sweeps import OTHER, SAME, char_of, compare, masks
from layouts.x86.xsave import EXTENDED_OFFSET, HEADER_OFFSET, LEGACY_AT

#: Where the recorder writes XMM registers.
_XMM = LEGACY_AT["xmm"]
XCR0_BITS = (0, 1, 2, 3, 4, 5, 6, 7, 9, 17, 18, 19)
_BV, _HEADER_END = HEADER_OFFSET, EXTENDED_OFFSET
_MOST = 0xFFFFFFFF
STRUCTS = {
    "kvm_xsave": Struct(KVM_XSAVE_SIZE_BYTES, xsave.get_xsave, xsave.set_xsave),
    "kvm_fpu": Struct(xsave.FPU_SIZE_BYTES, xsave.get_fpu, xsave.set_fpu),
}
#: Entries (register, value), nr_xcrs and flags of the cases that have a name; padding is looked at by nobody.
_CASES = {
    "flags=1": ([(0, 1)], 1),
    "only xcr 1": ([(1, 1)], 0),
    "reserved=1": ([(0, 1)], 0),
    "padding": ([(0, 1)], 0),
    "xcr0 twice: 1 then 2": ([(0, 1), (0, 2)], 0),
}


def replay(bench: Bench, records: Sequence[Record]) -> Iterator[Answer | Agreed | NotAsked]:
    """The answers of a section."""
    sweeps = StructSweeps("xsave", STRUCTS)
    for record in records:
        vcpu = bench.vcpu
        match record["op"]:
            case "mk":
                bench.make(record)
            case "xcr0sweep":
                yield from _xcr0sweep(vcpu, record)
            case "xcrs_nr":
                yield _xcrs_nr(vcpu, record)
            case "xcrs_case":
                yield _xcrs_case(vcpu, record)
            case "state":
                yield _state(vcpu, record)
            case "xsavefill":
                outcome = xsave.set_xsave(vcpu, filled_image(vcpu, int(record["bv"], 16)))
                yield Answer(
                    "xsave.xsavefill", record["bv"], record["e"], outcome.code, not record["e"], outcome.because
                )
            case "base" | "bits" | "vals":
                yield from sweeps.replay(vcpu, record)
            case "xstate_bv":
                yield from _xstate_bv(vcpu, record, sweeps.base)
            case "xsave2":
                yield _xsave2(vcpu, record)
            case op:
                yield unknown(f"xsave.{op}")


def set_xcr0(vcpu: WholeVcpu, value: int) -> tuple[str, str]:
    """The character of KVM_SET_XCRS with XCR0 alone, and why."""
    outcome = xcrs.set_xcrs(vcpu, [(0, value)])
    char = char_of(outcome)
    return (OTHER if char == SAME and vcpu.xcr0 != value else char), outcome.because


def _xcr0sweep(vcpu: WholeVcpu, record: Record) -> Iterator[Answer | Agreed]:
    for key, values in (("s", masks(record["bits"])), ("one", [1 | 1 << bit for bit in range(64)])):
        found, reasons = [], []
        for value in values:
            char, why = set_xcr0(vcpu, value)
            found.append(char)
            reasons.append(why)
            set_xcr0(vcpu, 1)
        yield from compare("xsave.xcr0sweep", f"XCR0, {key}", record[key], "".join(found), reasons)


def _xcrs_nr(vcpu: WholeVcpu, record: Record) -> Answer:
    entries = [(register, int(register == 0)) for register in range(xcrs.KVM_MAX_XCRS)]
    outcome = xcrs.set_xcrs(vcpu, entries, count=record["nr"] & _MOST)
    text = f"{record['nr']} entries"
    return Answer("xsave.xcrs_nr", text, record["e"], outcome.code, not record["e"], outcome.because)


def _xcrs_case(vcpu: WholeVcpu, record: Record) -> Answer:
    entries, flags = _CASES[record["w"]]
    outcome = xcrs.set_xcrs(vcpu, entries, flags=flags)
    count, value = xcrs.get_xcrs(vcpu)
    expected = [record["e"], record["ge"], record["nr"], record["v"]]
    predicted = [outcome.code, 0, count, f"{value:x}"]
    return Answer("xsave.xcrs_case", record["w"], expected, predicted, not record["e"], outcome.because)


def _state(vcpu: WholeVcpu, record: Record) -> Answer:
    """XCR0 is set; the registers are filled before the first of them, and before the FPU structure."""
    is_fpu = record["st"] == "fpu"
    value = 1 if is_fpu else int(record["xcr0"], 16)
    if not is_fpu and value == 1:
        fill_fpu(vcpu)
    outcome = xcrs.set_xcrs(vcpu, [(0, value)])
    if is_fpu:
        fill_fpu(vcpu)
    return Answer("xsave.state", f"XCR0 {value:#x}", record["e"], outcome.code, not record["e"], outcome.because)


def fill_fpu(vcpu: WholeVcpu) -> None:
    """KVM_SET_FPU as the recorder does it (fpufill), but for MXCSR, which kvm_arch_vcpu_ioctl_set_fpu does not take."""
    image = bytearray(xsave.FPU_SIZE_BYTES)
    image[128:130] = (0x37F).to_bytes(2, "little")
    image[152:408] = bytes(range(256))
    xsave.set_fpu(vcpu, bytes(image))


def filled_image(vcpu: WholeVcpu, bv: int, mxcsr: int = 0x1F80) -> bytes:
    """The image that the recorder puts: x87, SSE and, where it is in ``bv``, AVX."""
    image = bytearray(xsave.get_xsave(vcpu)[:KVM_XSAVE_SIZE_BYTES])
    image[0:5] = bytes((0x7F, 0x03, 0x00, 0x38, 0x80))
    image[24:28] = mxcsr.to_bytes(4, "little")
    image[32:42] = bytes(range(0x40, 0x4A))
    image[_XMM.offset : _XMM.end] = bytes(range(256))
    image[_BV:_HEADER_END] = bv.to_bytes(64, "little")
    if bv & 4:
        image[_HEADER_END : _HEADER_END + 256] = bytes(range(255, -1, -1))
    return bytes(image)


def _xstate_bv(vcpu: WholeVcpu, record: Record, base: bytes) -> Iterator[Answer | Agreed]:
    found, reasons = [], []
    for value in masks(record["bits"]):
        image = base[:_BV] + value.to_bytes(8, "little") + base[_BV + 8 :]
        outcome = xsave.set_xsave(vcpu, image)
        char = char_of(outcome)
        if char == SAME:
            got = int.from_bytes(xsave.get_xsave(vcpu)[_BV : _BV + 8], "little")
            char = SAME if got == value else OTHER
        found.append(char)
        reasons.append(outcome.because)
    xsave.set_xsave(vcpu, base)
    yield from compare("xsave.xstate_bv", "XSTATE_BV", record["s"], "".join(found), reasons)


def _xsave2(vcpu: WholeVcpu, record: Record) -> Answer:
    outcome = vcpu.get_xsave2()
    header = xsave.get_xsave(vcpu)[_BV:_HEADER_END] if outcome.accepted else bytes(64)
    expected = [record["cap"], record["e"], record["hdr"]]
    predicted = [xsave2_capability(vcpu.process), outcome.code, header.hex()]
    return Answer("xsave.xsave2", "KVM_GET_XSAVE2", expected, predicted, not record["e"], outcome.because)
