"""SVE, SME and FPSIMD registers of a QEMU arm cpu section.

QEMU keeps the low 128 bits of each Z in ``cpu/vfp``, the next 896 in ``cpu/sve``, and
nothing above 1024 bits: what a longer vector has there is not captured. The vector length is
not in the stream; the ZCR_ELx (SMCR_ELx in streaming mode) in force bound it from above, what
the registers hold from below.
"""

from __future__ import annotations

from collections.abc import Iterator

from inspector.capture.model import Area
from inspector.decode.arm64 import MAX_VL_BYTES
from inspector.decode.spec import FieldSpec, Span, fact_spec, narrow, pieces_spec
from layouts.arm64.kvm_ids import id_of_name
from layouts.arm64.sysregs import register_of
from layouts.files.qemu import ARM_SOURCE

Places = dict[tuple[str, str], tuple[int, int, int]]

#: Bytes of a Z register that QEMU migrates.
MIGRATED_Z_BYTES = 128
#: ZA in QEMU 11.1, and in 7.2 to 10.
_ZA_NAMES = ("env.za_state.za", "env.zarray")


def _register(area: Area, registers: dict[int, Span], name: str) -> int | None:
    span = registers.get(id_of_name(name) or 0)
    if span is None or span.offset + 8 > area.size_bytes:
        return None
    return int.from_bytes(area.data[span.offset : span.offset + 8], "big")


def vector_specs(area: Area, places: Places, registers: dict[int, Span]) -> Iterator[FieldSpec]:
    """V, and at the vector length Z, P, FFR and ZA."""
    names = {number: ("cpu/vfp", f"env.vfp.zregs[{number}].d") for number in range(32)}
    low = {number: places[name][0] for number, name in names.items() if name in places}
    for number, offset in low.items():
        yield _spec(f"core.v[{number}]", "vector", (Span(offset, 16),), f"V{number}")
    yield from _status(registers)
    svcr = _register(area, registers, "SVCR") or 0
    cpsr = places.get(("cpu", "cpsr"))
    pstate = int.from_bytes(area.data[cpsr[0] : cpsr[0] + 4], "big") if cpsr else 0
    if ("cpu/sve", "env.vfp.zregs") in places and len(low) == 32:
        streaming = bool(svcr & 1)
        bound = vl_bound_bytes(area, registers, "SMCR" if streaming else "ZCR", pstate)
        vl_bytes = max(16, min(bound, held_vl_bytes(area, places)))
        for prefix in ("sve", "ssve") if streaming else ("sve",):
            yield from _sve(prefix, low, places, vl_bytes, bound)
    za = next((places["cpu/sme", name] for name in _ZA_NAMES if ("cpu/sme", name) in places), None)
    if svcr & 2 and za:
        yield from _za(za[0], vl_bound_bytes(area, registers, "SMCR", pstate))


def _spec(path: str, kind: str, pieces: tuple[Span, ...], title: str, swap: int = 8) -> FieldSpec:
    group = path.partition("[")[0].partition(".")[0]
    return pieces_spec(path, pieces, kind, group=group, title=title, source=ARM_SOURCE, swap=swap)


def _fact(path: str, value: int, title: str, text: str) -> FieldSpec:
    return fact_spec(path, value, group=path.partition(".")[0], title=title, source=ARM_SOURCE, text=text)


def _status(registers: dict[int, Span]) -> Iterator[FieldSpec]:
    """FPSR, FPCR and SVCR under the paths that they have in every other format."""
    for name, path in (("FPSR", "core.fpsr"), ("FPCR", "core.fpcr"), ("SVCR", "svcr")):
        span = registers.get(id_of_name(name) or 0)
        if span is not None:
            yield _spec(path, "uint", (span,), name)._replace(register=register_of(name))


_HCR_E2H, _HCR_TGE, _HCR_RW = 1 << 34, 1 << 27, 1 << 31
_SCR_NS, _SCR_EEL2 = 1, 1 << 18


def controls_in_force(area: Area, registers: dict[int, Span], pstate: int) -> tuple[int, ...]:
    """The exception levels whose ZCR_ELx and SMCR_ELx limit the vector length, lowest first.

    Arm ARM, ZCR_EL1 and CurrentSVEVL: EL1's counts at EL0 and EL1, but not at EL0 of a host at EL2 (HCR_EL2.{E2H,
    TGE} both 1); EL2's up to EL2 where EL2 is enabled; EL3's always. QEMU lists ZCR_EL2 and ZCR_EL3 as zeros for CPUs
    without these levels. So EL3 is known to be there by SCR_EL3; EL2 at EL2 itself, and below by HCR_EL2.RW, without
    which EL1 is no AArch64, or by E2H and TGE. In Secure state SCR_EL3.EEL2 enables EL2.
    """
    level = pstate >> 2 & 3
    hcr = _register(area, registers, "HCR_EL2") or 0
    scr = _register(area, registers, "SCR_EL3")
    in_host = hcr & _HCR_E2H and hcr & _HCR_TGE
    non_secure = scr is None or scr & (_SCR_NS | _SCR_EEL2)
    found = []
    if level == 1 or (level == 0 and not (in_host and non_secure)):
        found.append(1)
    if level == 2 or (level < 2 and non_secure and (in_host or hcr & _HCR_RW)):
        found.append(2)
    if scr is not None:
        found.append(3)
    return tuple(found)


def vl_bound_bytes(area: Area, registers: dict[int, Span], name: str, pstate: int) -> int:
    """The largest vector length that ZCR or SMCR (``name``) of the levels in force allow: (LEN + 1) * 16 bytes."""
    levels = controls_in_force(area, registers, pstate)
    values = (_register(area, registers, f"{name}_EL{level}") for level in levels)
    return min((16 * ((value & 15) + 1) for value in values if value is not None), default=MAX_VL_BYTES)


def held_vl_bytes(area: Area, places: Places) -> int:
    """The shortest length that has room for what the registers hold; 256 when they hold nothing."""
    z_at, z_size, _ = places[("cpu/sve", "env.vfp.zregs")]
    held = 0
    for number in range(32):
        raw = bytes(area.data[z_at + number * z_size : z_at + (number + 1) * z_size])
        used = _used_bytes(raw)
        held = max(held, 16 + used if used else 0)
    p_at, p_size, p_count = places.get(("cpu/sve", "env.vfp.pregs"), (0, 0, 0))
    for number in range(p_count):
        held = max(held, 8 * _used_bytes(bytes(area.data[p_at + number * p_size : p_at + (number + 1) * p_size])))
    if not held:
        return MAX_VL_BYTES
    vq = -(-held // 16)
    return 16 * (1 << (vq - 1).bit_length())


def _used_bytes(raw: bytes) -> int:
    """Bytes up to the last that is set, of a register in big-endian 64-bit words, low word first."""
    for at in range(len(raw) - 8, -1, -8):
        word = int.from_bytes(raw[at : at + 8], "big")
        if word:
            return at + (word.bit_length() + 7) // 8
    return 0


def _sve(prefix: str, low: dict[int, int], places: Places, vl_bytes: int, bound: int) -> Iterator[FieldSpec]:
    note = f"{vl_bytes} (not in the stream: what the registers hold; the control register allows {bound})"
    yield _fact(f"{prefix}.vl_bytes", vl_bytes, "vector length in bytes", note if vl_bytes != bound else str(bound))
    z_at, z_size, _ = places[("cpu/sve", "env.vfp.zregs")]
    for number in range(32):
        pieces = [Span(low[number], 16)]
        upper = min(vl_bytes, MIGRATED_Z_BYTES) - 16
        if upper:
            pieces.append(Span(z_at + number * z_size, upper))
        title = f"vector register {number}"
        spec = _spec(f"{prefix}.z[{number}]", "vector", tuple(pieces), title)
        if vl_bytes > MIGRATED_Z_BYTES:
            spec = spec._replace(missing_bytes=vl_bytes - MIGRATED_Z_BYTES)
        yield spec
    p_at, p_size, _ = places[("cpu/sve", "env.vfp.pregs")]
    for number in range(17):
        name = f"p[{number}]" if number < 16 else "ffr"
        pieces_p = narrow(Span(p_at + number * p_size, p_size), 0, vl_bytes // 8, 8)
        yield _spec(f"{prefix}.{name}", "predicate", pieces_p, "predicate register" if number < 16 else "first-fault")


def _za(at: int, vl_bytes: int) -> Iterator[FieldSpec]:
    yield _fact("za.vl_bytes", vl_bytes, "streaming vector length in bytes", f"{vl_bytes} (as SMCR allows)")
    for row in range(vl_bytes):
        yield _spec(f"za.row[{row}]", "vector", (Span(at + row * 256, vl_bytes),), f"ZA row {row}")
