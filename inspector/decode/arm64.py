"""arm64 areas as fields: KVM registers by id, SVE and SME notes at their vector length."""

from __future__ import annotations

from inspector.capture.model import Area
from inspector.decode.spec import FieldSpec, Span, field_spec, unique
from inspector.decode.walk import walk
from inspector.decode.xsave import gap_specs
from layouts.arm64.ids import ARM32, ARM64
from layouts.arm64.kvm_ids import Explained
from layouts.arm64.registers import PSTATE
from layouts.arm64.sysregs import SOURCE, id_registers, register_of
from layouts.files.elf_arm64 import USER_FPSIMD_STATE, USER_SVE_HEADER
from layouts.kvm_ids import explain
from layouts.light import lru_cache
from layouts.members import members
from layouts.register_id import RegisterId
from layouts.riscv import kvm_ids as riscv
from layouts.vocabulary import Register
from layouts.x86 import kvm_ids as x86
from layouts.x86.msrs import MSR_REGISTERS

_UAPI = "Linux include/uapi/linux/kvm.h"
_KVM_SOURCES = {
    number: f"Linux arch/{name}/include/uapi/asm/kvm.h"
    for number, name in ((x86.ARCHITECTURE, "x86"), (ARM32, "arm"), (ARM64, "arm64"), (riscv.ARCHITECTURE, "riscv"))
}
_SVE_SOURCE = "Linux arch/arm64/include/uapi/asm/ptrace.h, struct user_sve_header"

_HEADER, _FPSIMD = walk(USER_SVE_HEADER), members(USER_FPSIMD_STATE)
_HEADER_AT = members(USER_SVE_HEADER)
HEADER_SIZE_BYTES = _HEADER[-1].offset + _HEADER[-1].size_bytes
#: The architecture's largest vector length (Arm ARM, ZCR_EL1.LEN).
MAX_VL_BYTES = 256


def spec_of_register(register_id: int, span: Span, swap: int = 0) -> list[FieldSpec]:
    """The field of a register, and for an ID register one more for each of its fields."""
    known = explain(register_id)
    register = _register(known)
    kind = "vector" if span.size_bytes in (16, 32, 64, 256) else "uint"
    group = known.path.partition(".")[0]
    source = register.source if register else (SOURCE if known.name else _KVM_SOURCES.get(known.id.architecture, _UAPI))
    whole = field_spec(
        known.path, span, kind, group=group, title=known.title, source=source, register=register, swap=swap
    )
    if known.name not in id_registers() or register is None:
        return [whole]
    return [whole, *id_field_specs(whole, register)]


def _register(known: Explained) -> Register | None:
    msr = x86.msr_number(known.id)
    if msr is not None:
        return MSR_REGISTERS.get(msr)
    if known.path == "core.pstate" or known.path.startswith("core.spsr"):
        return PSTATE
    if known.path in ("core.fpsr", "core.fpcr"):
        return register_of(known.path.removeprefix("core.").upper())
    return register_of(known.name) if known.name else None


def id_field_specs(whole: FieldSpec, register: Register) -> list[FieldSpec]:
    """``id.REGISTER.FIELD`` for every named field of an ID register."""
    return [
        whole._replace(
            path=f"id.{register.name}.{bits.name}",
            group=f"id.{register.name}",
            title=bits.meaning,
            bit=bits,
            register=None,
        )
        for bits in reversed(register.bits)
    ]


def register_specs(area: Area) -> tuple[FieldSpec, ...]:
    """Registers by KVM id, one after the other; ``ids`` has them in the order of the bytes."""
    return _register_specs(tuple(area.attributes["ids"]), area.prefix, area.declared_size_bytes)


@lru_cache(maxsize=64)
def _register_specs(ids: tuple[int, ...], prefix: str, size_bytes: int) -> tuple[FieldSpec, ...]:
    specs: list[FieldSpec] = []
    at = 0
    for register_id in ids:
        size = RegisterId(register_id).size_bytes
        specs += spec_of_register(register_id, Span(at, size))
        at += size
    ordered = sorted(specs, key=lambda spec: spec.group.startswith("id."))
    return (*unique(ordered), *gap_specs(prefix, specs, size_bytes))


def sve_specs(area: Area) -> tuple[FieldSpec, ...]:
    """NT_ARM_SVE or NT_ARM_SSVE: a header and, as its flags and sizes say, SVE or FPSIMD registers."""
    vl_bytes, flags = _vector_header(area)
    return _sve_specs(area.prefix, vl_bytes, area.declared_size_bytes, is_sve=bool(flags & 1))


def _vector_header(area: Area) -> tuple[int, int]:
    vl_bytes, flags = _HEADER_AT["vl_bytes"].get(area.data), _HEADER_AT["flags"].get(area.data)
    return (vl_bytes if 16 <= vl_bytes <= MAX_VL_BYTES and not vl_bytes % 16 else 0), flags


@lru_cache(maxsize=64)
def _sve_specs(prefix: str, vl_bytes: int, size_bytes: int, *, is_sve: bool) -> tuple[FieldSpec, ...]:
    specs = _header_specs(prefix)
    if size_bytes > HEADER_SIZE_BYTES:
        if is_sve and vl_bytes:
            specs += vector_specs(prefix, HEADER_SIZE_BYTES, vl_bytes)
        elif not is_sve and size_bytes >= HEADER_SIZE_BYTES + _FPSIMD["fpcr"].end:
            specs += _fpsimd_specs(prefix)
    return (*specs, *gap_specs(prefix, specs, size_bytes))


def _plain(prefix: str, name: str, span: Span, kind: str, title: str, register: Register | None = None) -> FieldSpec:
    group = name.partition("[")[0] if "[" in name else prefix
    return field_spec(f"{prefix}.{name}", span, kind, group=group, title=title, source=_SVE_SOURCE, register=register)


def _header_specs(prefix: str) -> list[FieldSpec]:
    return [_plain(prefix, leaf.name, Span(leaf.offset, leaf.size_bytes), leaf.kind, leaf.doc) for leaf in _HEADER]


def vector_specs(prefix: str, at: int, vl_bytes: int) -> list[FieldSpec]:
    """Z, P, FFR, FPSR and FPCR at a vector length, as ``SVE_PT_SVE_*`` places them."""
    specs = [
        _plain(prefix, f"z[{n}]", Span(at + n * vl_bytes, vl_bytes), "vector", f"vector register {n}")
        for n in range(32)
    ]
    at += 32 * vl_bytes
    pl_bytes = vl_bytes // 8
    specs += [
        _plain(prefix, f"p[{n}]", Span(at + n * pl_bytes, pl_bytes), "predicate", f"predicate register {n}")
        for n in range(16)
    ]
    specs.append(_plain(prefix, "ffr", Span(at + 16 * pl_bytes, pl_bytes), "predicate", "first-fault register"))
    end = -(-(at + 17 * pl_bytes) // 16) * 16
    specs.append(_plain(prefix, "fpsr", Span(end, 4), "uint", "floating-point status", register_of("FPSR")))
    specs.append(_plain(prefix, "fpcr", Span(end + 4, 4), "uint", "floating-point control", register_of("FPCR")))
    return specs


def _fpsimd_specs(prefix: str) -> list[FieldSpec]:
    at = HEADER_SIZE_BYTES
    specs = [_plain(prefix, f"v[{n}]", Span(at + 16 * n, 16), "vector", f"V{n}") for n in range(32)]
    for name, title in (("fpsr", "floating-point status"), ("fpcr", "floating-point control")):
        span = Span(at + _FPSIMD[name].offset, _FPSIMD[name].size_bytes)
        specs.append(_plain(prefix, name, span, "uint", title, register_of(name.upper())))
    return specs


def za_specs(area: Area) -> tuple[FieldSpec, ...]:
    """NT_ARM_ZA: a header and, when ZA is on, vl rows of vl bytes."""
    vl_bytes, _ = _vector_header(area)
    return _za_specs(area.prefix, vl_bytes, area.declared_size_bytes)


@lru_cache(maxsize=64)
def _za_specs(prefix: str, vl_bytes: int, size_bytes: int) -> tuple[FieldSpec, ...]:
    specs = _header_specs(prefix)
    if size_bytes > HEADER_SIZE_BYTES and vl_bytes:
        specs += za_rows(prefix, HEADER_SIZE_BYTES, vl_bytes, vl_bytes)
    return (*specs, *gap_specs(prefix, specs, size_bytes))


def za_rows(prefix: str, at: int, vl_bytes: int, stride: int) -> list[FieldSpec]:
    """The rows of ZA; the title says which tile's row each is."""
    specs = []
    for row in range(vl_bytes):
        tiles = ", ".join(f"za{row % n}.{name}[{row // n}]" for name, n in (("h", 2), ("s", 4), ("d", 8), ("q", 16)))
        span = Span(at + row * stride, vl_bytes)
        specs.append(_plain(prefix, f"row[{row}]", span, "vector", f"ZA row {row}: row of {tiles}"))
    return specs
