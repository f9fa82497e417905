"""What the keys of restore recordings hold, whatever the record: looked at before anything is replayed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inspector.capture.errors import InputError
from inspector.machine.shapes import ANY_TEXT, Value, number, rows

_NUMBERS = """a0 attr bank bp byte cap cpuid_e create cs_db cs_l flags format group in irq khz latch n nent nmsrs
nr off order port size vcpu vector width"""
_HEX = "apic_base base bit enable_and_bit i quirks saved status vmcs12 vmxon xcr0"
_TEXTS = "b64 cpuid fd from name path release s what"


def _is_hex(found: object) -> bool:
    if not isinstance(found, str):
        return False
    try:
        return 0 <= int(found, 16) < 1 << 64
    except ValueError:
        return False


_HEXADECIMAL = Value("up to 16 hexadecimal digits", _is_hex)
_KEYS: Mapping[str, Value] = {
    **dict.fromkeys(_NUMBERS.split(), number()),
    **dict.fromkeys(_HEX.split(), _HEXADECIMAL),
    **dict.fromkeys(_TEXTS.split(), ANY_TEXT),
}
#: Where a key holds something else than in other records.
_BY_OP: Mapping[tuple[str, str], Value] = {
    ("mk_vcpu_id", "id"): number(0, (1 << 32) - 1),
    ("evgrid", "nr"): rows(number()),
}


def check(file: str, found: Iterable[Mapping[str, Any]]) -> None:
    """Keys hold what they do in every recording. Raises InputError naming the record."""
    for at, record in enumerate(found, 1):
        op = record["op"]
        for key, held in record.items():
            value = _BY_OP.get((op, key)) or _KEYS.get(key)
            if value is not None and not value.holds(held):
                raise InputError(f"{file}: record {at}, {op}", f'"{key}": {value.words}', repr(held)[:60])
