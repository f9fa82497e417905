"""Kernel profiles as text: which releases each answers for, its source, and what changed since the one before."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from inspector.machine.arm64 import nested
from layouts.arm64.commits import COMMITS
from layouts.arm64.el2_masks import el2_registers
from layouts.arm64.kernels import Arm64Kernel, FieldPolicy, IdRegister, Limit
from layouts.arm64.kvm_ids import explain
from layouts.arm64.listed import ALWAYS, OF_EL2, listed
from layouts.arm64.sysregs import id_registers
from layouts.coming import COMING
from layouts.kernels import Kernel
from layouts.light import cache

_WIDTH = 110
#: Registers of which every bit is meant.
_WHOLE = (0xFFFF_FFFF, (1 << 64) - 1)
#: As many fields of a mask are named.
_FEW = 12
#: What names a profile, and is no rule of it.
_NAMES = set(Kernel.field_names())


def profiles_text(arch: str, kernels: Sequence[Kernel]) -> Iterator[str]:
    """A line a profile: its name, the first release that it answers for, the version that was read."""
    yield arch
    for kernel in kernels:
        since = f"from {kernel.since} on" if kernel.since else ""
        yield f"  {kernel.name:<6} {since:<12} {kernel.provenance}"


def coming_text(only: str = "") -> Iterator[str]:
    """What no release has yet, of one architecture or both: each with its series, and that it is not merged."""
    for one in COMING:
        if only in ("", one.arch):
            yield f"{one.arch}: {one.name} (not merged)"
            link = one.link or "not verified"
            brings = (("brings", each) for each in one.brings)
            for title, text in (("series", one.series), ("link", link), *brings, ("now", one.there)):
                yield from wrap(f"{title}: {text}", _WIDTH, initial_indent="  ", subsequent_indent="    ")


def coming_json(only: str = "") -> list[dict[str, Any]]:
    """The same for programs."""
    keys = ("arch", "name", "series", "link", "brings", "there")
    return [{**{key: getattr(one, key) for key in keys}, "merged": False} for one in COMING if only in ("", one.arch)]


def profile_text(arch: str, kernel: Kernel, before: Kernel | None) -> Iterator[str]:
    """One profile: its source and every rule or table entry that differs from the release before."""
    yield f"{arch}: {kernel.title}"
    yield from wrap(f"source: {getattr(kernel, 'source', '')}", _WIDTH, initial_indent="  ", subsequent_indent="    ")
    yield f"  since Linux {before.name}:" if before is not None else "  the oldest profile:"
    found = [line for name in _rules(kernel) for line in _changes(name, kernel, before)]
    if isinstance(kernel, Arm64Kernel):
        found += [*_nested_changes(kernel, before), *_listed_changes(kernel, before), *_el2_changes(kernel, before)]
    yield from found or ["    nothing that is modelled"]


def changed_lines(older: Kernel, newer: Kernel) -> Iterator[str]:
    """Every rule or table entry in which two profiles of one architecture differ, a line or more each."""
    for name in _rules(newer):
        yield from _changes(name, newer, older)
    if isinstance(newer, Arm64Kernel):
        yield from _nested_changes(newer, older)
        yield from _listed_changes(newer, older)
        yield from _el2_changes(newer, older)


def _nested_changes(kernel: Arm64Kernel, before: Kernel | None) -> Iterator[str]:
    """Fields of which guests with EL2 see more or less than they did (limit_nv_id_reg)."""
    if not isinstance(before, Arm64Kernel) or not before.nested or before.nested == kernel.nested:
        return
    for encoding, fields in kernel.fields.items():
        name = kernel.register_name(encoding)
        limit = kernel.limits.get(encoding, Limit())
        words = []
        for one in fields:
            old, new = (nested.most_shown(each.nested, name, one.lsb, one.width) for each in (before, kernel))
            if old != new and not limit.hidden >> one.lsb & 1:
                words.append(_shown(one, old, new))
        if words:
            line = f"fields of guests with EL2 {name}: {', '.join(words)}"
            yield from wrap(line, _WIDTH, initial_indent="    ", subsequent_indent="      ")


def _shown(field: FieldPolicy, old: int, new: int) -> str:
    """``+RAS``, ``-GCIE``, ``+HAFDBS at most 1``, ``DebugVer at most 7 -> 10``, from the most that a field may show."""
    if not new:
        return f"-{field.name}"
    most = f"{old} -> {new}" if old else str(new)
    return f"{'' if old else '+'}{field.name}{'' if not old and new == (1 << field.width) - 1 else f' at most {most}'}"


def _listed_changes(kernel: Arm64Kernel, before: Kernel | None) -> Iterator[str]:
    """System registers that vCPUs have otherwise, by the function that decides whether one has them (sys_regs.c)."""
    if not isinstance(before, Arm64Kernel):
        return
    old, new = _listed(before), _listed(kernel)
    found: dict[tuple[str, str], list[str]] = {}
    for one in sorted({*old, *new}):
        if old.get(one) != new.get(one):
            found.setdefault((old.get(one, ""), new.get(one, "")), []).append(kernel.register_name(one))
    for (was, now), names in found.items():
        line = f"KVM_GET_REG_LIST of {_whose(was, now)}: {', '.join(names)}"
        yield from wrap(line, _WIDTH, initial_indent="    ", subsequent_indent="      ")


def _listed(kernel: Arm64Kernel) -> dict[int, str]:
    """What is listed by encoding, and whose vCPUs have it; nothing of EL2 where none can be asked for."""
    return {each & 0xFFFF: word for each, word in listed(kernel.name) if kernel.nested or word not in OF_EL2}


def _whose(was: str, now: str) -> str:
    """Which vCPUs have registers, before and after: the kernel's function, ``every`` one, or none."""
    old, new = ("every vCPU" if one == ALWAYS else f"{one}_visibility" for one in (was, now))
    if was and now:
        return f"{old} -> {new}"
    return f"{new}, new" if now else f"{old}, no more"


def _el2_changes(kernel: Arm64Kernel, before: Kernel | None) -> Iterator[str]:
    """Registers of a guest's EL2 of which KVM keeps other bits as they are (kvm_init_nv_sysregs)."""
    old, new = el2_registers(before.name if before is not None else ""), el2_registers(kernel.name)
    words = [f"+{kernel.register_name(one)}" for one in new if one not in old]
    words += [f"-{kernel.register_name(one)}" for one in old if one not in new]
    words += [kernel.register_name(one) for one in new if one in old and new[one] != old[one]]
    if words:
        line = f"RES0 and RES1 of a guest's EL2, once it ran: {', '.join(words)}"
        yield from wrap(line, _WIDTH, initial_indent="    ", subsequent_indent="      ")


def _rules(kernel: Kernel) -> Iterator[str]:
    yield from (name for name in kernel.field_names() if name not in _NAMES)


def _changes(name: str, kernel: Kernel, before: Kernel | None) -> Iterator[str]:
    after = getattr(kernel, name)
    if not isinstance(after, dict):
        old = getattr(before, name, None)
        if before is None:
            yield f"    {name}: {_text(after)}"
        elif old != after:
            yield f"    {name}: {_text(old)} -> {_text(after)}"
            if isinstance(kernel, Arm64Kernel):
                yield from _said(rules_told().get(name, ""))
                yield from _said("commit {} ({})".format(*COMMITS[name]) if name in COMMITS else "")
        return
    old_table: dict[int, Any] = getattr(before, name) if before is not None else {}
    if before is None:
        yield f"    {name}: {len(after)} entries"
        return
    for key in sorted({*after, *old_table}):
        if after.get(key) != old_table.get(key):
            text = _entry_changed(_key(kernel, key), old_table.get(key), after.get(key))
            line = f"{name} {_key(kernel, key)}: {text}"
            yield from wrap(line, _WIDTH, initial_indent="    ", subsequent_indent="      ")


def _said(text: str) -> Iterator[str]:
    yield from wrap(text, _WIDTH, initial_indent="      ", subsequent_indent="      ")


@cache
def rules_told() -> dict[str, str]:
    """What each rule of an arm64 profile says, as Arm64Kernel tells it."""
    name = "(?:{})".format("|".join(f"``{one}``" for one in Arm64Kernel.field_names()))
    named = f"{name}(?:, {name})*"
    told = re.findall(rf"({named}):\s(.*?)(?=\s*{named}:\s|\n\n|\Z)", Arm64Kernel.__doc__ or "", re.DOTALL)
    return {one: " ".join(text.split()).replace("``", "") for names, text in told for one in re.findall(r"\w+", names)}


def _entry_changed(key: str, before: Any, after: Any) -> str:
    """What became of an entry of a table: masks as the fields that they are made of."""
    if isinstance(before or after, tuple) and all(isinstance(one, FieldPolicy) for one in before or after):
        return _fields_changed(before or (), after or ())
    if key.startswith("fw."):
        return " -> ".join("none" if one is None else "{:#x} at reset of {:#x}".format(*one) for one in (before, after))
    if isinstance(before, IdRegister) and isinstance(after, IdRegister) and before.kind == after.kind:
        return _names_changed(key, before.mask, after.mask, after.kind)
    return f"{_text(before, key)} -> {_text(after, key)}"


def _names_changed(key: str, before: int, after: int, kind: str) -> str:
    words = [f"+{name}" for name in _names(key, after & ~before)] + [
        f"-{name}" for name in _names(key, before & ~after)
    ]
    return f"{kind} {', '.join(words)}" if words else f"{kind} {before:#x} -> {after:#x}"


def _names(key: str, mask: int) -> list[str]:
    """The fields of a register that a mask is made of; bits that are no whole field as a number."""
    names, left = [], mask
    for field in id_registers()[key]["fields"] if key in id_registers() else ():
        bits = ((1 << field["width"]) - 1) << field["lsb"]
        if bits & left == bits and field["name"]:
            names.append(field["name"])
            left &= ~bits
    return [*names, f"{left:#x}"] if left else names


def _key(kernel: Kernel, key: int) -> str:
    if not isinstance(kernel, Arm64Kernel):
        return hex(key)
    return kernel.register_name(key) if key < 1 << 16 else explain(key).path


def _fields_changed(before: Sequence[FieldPolicy], after: Sequence[FieldPolicy]) -> str:
    old, new = ({(field.lsb, field.width): field for field in table} for table in (before, after))
    words = [f"+{new[place].name}" for place in new if place not in old]
    words += [f"-{old[place].name}" for place in old if place not in new]
    words += [f"{new[p].name} {_policy(old[p])} -> {_policy(new[p])}" for p in new if p in old and old[p] != new[p]]
    return ", ".join(words)


def _policy(field: FieldPolicy) -> str:
    strict = "strict" if field.strict else "not strict"
    return f"({field.policy}, {'signed' if field.signed else 'unsigned'}, {strict}, safe {field.safe_value})"


def _mask(key: str, mask: int) -> str:
    """A mask by its fields where they are few, what is left out where those are, else as a number."""
    if mask in _WHOLE:
        return "all of it"
    names, others = _names(key, mask), _names(key, ~mask & (1 << 64) - 1)
    if len(names) <= _FEW:
        return ", ".join(names)
    return f"all but {', '.join(others)}" if others and len(others) <= _FEW else f"{mask:#x}"


def _text(value: object, key: str = "") -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | tuple):
        return "none" if value is None else str(value) or "none"
    if isinstance(value, int):
        return hex(value) if value > 0xFF else str(value)
    if isinstance(value, IdRegister):
        return f"{value.kind} {_mask(key, value.mask)}" if value.mask else value.kind
    if isinstance(value, Limit):
        words = [f"hides {_mask(key, value.hidden)}"] if value.hidden else []
        words += [f"and without MTE {_mask(key, value.without_mte)}"] if value.without_mte else []
        words += [f"at most {most} in [{lsb + width - 1}:{lsb}]" for lsb, width, most in value.most]
        return ", ".join(words)
    return ", ".join(_text(each) for each in value) or "none"
