"""Which system registers KVM_GET_REG_LIST lists, by kernel release and by what a vCPU has.

Data: ``data/listed_registers.json``, read from ``sys_reg_descs[]`` (Linux arch/arm64/kvm/sys_regs.c) of each release:
the entries that hold a register or have ``get_user``, and the function that decides whether a vCPU sees them. The table
is in the order of encodings, and so is the list. What stood beside the table: ``INVARIANT`` (invariant_sys_regs, until
6.15) and ``TIMERS`` (copy_timer_indices in guest.c, until 6.17).
"""

from __future__ import annotations

from functools import cache

from layouts.arm64.hosts import encoding_of_text
from layouts.arm64.ids import AIDR, CLIDR, CTR, MIDR, REVIDR, sysreg_id
from layouts.data import data_table
from layouts.kernels import release_numbers
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

#: A register that every vCPU has.
ALWAYS = "always"
#: What reset_unknown leaves (sys_regs.h).
UNKNOWN = 0x1DE7EC7EDBADC0DE
#: KVM's ids of the virtual timer's counter and comparator are each other's encoding (uapi/asm/kvm.h).
_CNTVCT, _CNTV_CVAL = encoding_of_text("3_3_14_0_2"), encoding_of_text("3_3_14_3_2")
TIMER_CTL, TIMER_CNT, TIMER_CVAL = encoding_of_text("3_3_14_3_1"), _CNTV_CVAL, _CNTVCT
PTIMER_CTL, PTIMER_CNT, PTIMER_CVAL = (encoding_of_text(f"3_3_14_{end}") for end in ("2_1", "0_1", "2_2"))
#: Registers that have only one value, in front of the table: the first release of each set.
_INVARIANT = (
    ((5, 10), (MIDR, REVIDR, CLIDR, AIDR, CTR)),
    ((6, 3), (MIDR, REVIDR, AIDR, CTR)),
    ((6, 11), (MIDR, REVIDR, AIDR)),
    ((6, 15), ()),
)
#: Timers in front of those: the physical timer since 6.4 (commit 3008c8f7e7d6 and its neighbours); none since 6.18.
_TIMERS = (
    ((5, 10), (TIMER_CTL, TIMER_CNT, TIMER_CVAL)),
    ((6, 4), (TIMER_CTL, TIMER_CNT, TIMER_CVAL, PTIMER_CTL, PTIMER_CNT, PTIMER_CVAL)),
    ((6, 18), ()),
)


@cache
def listed(release: str) -> tuple[tuple[int, str], ...]:
    """The system registers of a release as (KVM register id, condition), in the list's order.

    A condition is a name of :mod:`inspector.machine.arm64.listed`, or ``ALWAYS``.
    """
    numbers = release_numbers(release) or (0, 0)
    in_front = (*_newest(_TIMERS, numbers), *_newest(_INVARIANT, numbers))
    table = _of_release("registers", release)
    swapped = {_CNTVCT: TIMER_CNT, _CNTV_CVAL: TIMER_CVAL}
    rows = [(swapped.get(encoding, encoding), table[encoding]) for encoding in sorted(table)]
    return tuple((sysreg_id(encoding), name) for encoding, name in ((one, ALWAYS) for one in in_front)) + tuple(
        (sysreg_id(encoding), name) for encoding, name in rows
    )


@cache
def conditions(release: str) -> dict[int, str]:
    """The condition of each listed system register, by its KVM register id."""
    return dict(listed(release))


@cache
def plain(release: str) -> dict[int, int]:
    """Registers that hold what is written to them, by KVM register id, and their value at reset.

    They have neither ``get_user`` nor ``set_user``, or those of a breakpoint. Of a vCPU with EL2 some have bits that
    stay as they are.
    """
    values = {"unknown": UNKNOWN}
    return {
        sysreg_id(encoding): values[text] if text in values else int(text, 16)
        for encoding, text in _of_release("plain", release).items()
    }


@cache
def _data() -> dict[str, Any]:
    table: dict[str, Any] = data_table("arm64/data/listed_registers.json")
    return table


@cache
def _entries(part: str) -> list[tuple[tuple[int, ...], list[tuple[tuple[int, ...], str | None]]]]:
    """Encodings, and what was said of them since which release; null: nothing any more."""
    return [
        (
            tuple(map(encoding_of_text, entry["registers"].split())),
            [(release_numbers(since) or (0, 0), word) for since, word in entry["since"]],
        )
        for entry in _data()[part]
    ]


def _of_release(part: str, release: str) -> dict[int, str]:
    """What a release says of each encoding."""
    numbers = release_numbers(release) or (0, 0)
    found: dict[int, str] = {}
    for encodings, since in _entries(part):
        said = [word for first, word in since if first <= numbers]
        if said and said[-1] is not None:
            found |= dict.fromkeys(encodings, said[-1])
    return found


def _newest(table: tuple[tuple[tuple[int, int], tuple[int, ...]], ...], release: tuple[int, ...]) -> tuple[int, ...]:
    return [found for since, found in table if since <= release][-1]
