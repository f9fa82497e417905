"""Kernel profiles as text: which releases each answers for, its source, and what changed since the one before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from layouts.arm64.commits import COMMITS
from layouts.arm64.el2_masks import el2_registers
from layouts.arm64.kernels import Arm64Kernel, FieldPolicy, IdRegister, Limit
from layouts.coming import COMING
from layouts.kernels import Kernel

_WIDTH = 110
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
        found += _el2_changes(kernel, before)
    yield from found or ["    nothing that is modelled"]


def changed_lines(older: Kernel, newer: Kernel) -> Iterator[str]:
    """Every rule or table entry in which two profiles of one architecture differ, a line or more each."""
    for name in _rules(newer):
        yield from _changes(name, newer, older)
    if isinstance(newer, Arm64Kernel):
        yield from _el2_changes(newer, older)


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
            if isinstance(kernel, Arm64Kernel) and name in COMMITS:
                yield "      commit {} ({})".format(*COMMITS[name])
        return
    old_table: dict[int, Any] = getattr(before, name) if before is not None else {}
    if before is None:
        yield f"    {name}: {len(after)} entries"
        return
    for key in sorted({*after, *old_table}):
        if after.get(key) != old_table.get(key):
            line = f"{name} {_key(kernel, key)}: {_text(old_table.get(key))} -> {_text(after.get(key))}"
            if name == "fields":
                line = f"{name} {_key(kernel, key)}: {_fields_changed(old_table.get(key, ()), after.get(key, ()))}"
            yield from wrap(line, _WIDTH, initial_indent="    ", subsequent_indent="      ")


def _key(kernel: Kernel, key: int) -> str:
    return kernel.register_name(key) if isinstance(kernel, Arm64Kernel) and key < 1 << 16 else hex(key)


def _fields_changed(before: Sequence[FieldPolicy], after: Sequence[FieldPolicy]) -> str:
    old, new = ({(field.lsb, field.width): field for field in table} for table in (before, after))
    words = [f"+{new[place].name}" for place in new if place not in old]
    words += [f"-{old[place].name}" for place in old if place not in new]
    words += [f"{new[p].name} {_policy(old[p])} -> {_policy(new[p])}" for p in new if p in old and old[p] != new[p]]
    return ", ".join(words)


def _policy(field: FieldPolicy) -> str:
    strict = "strict" if field.strict else "not strict"
    return f"({field.policy}, {'signed' if field.signed else 'unsigned'}, {strict}, safe {field.safe_value})"


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | tuple):
        return "none" if value is None else str(value) or "none"
    if isinstance(value, int):
        return hex(value) if value > 0xFF else str(value)
    if isinstance(value, IdRegister):
        return f"{value.kind} {value.mask:#x}" if value.mask else value.kind
    if isinstance(value, Limit):
        words = [f"hides {value.hidden:#x}"] if value.hidden else []
        words += [f"without MTE {value.without_mte:#x}"] if value.without_mte else []
        words += [f"at most {most} in [{lsb + width - 1}:{lsb}]" for lsb, width, most in value.most]
        return ", ".join(words)
    return ", ".join(_text(each) for each in value) or "none"
