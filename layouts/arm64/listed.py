"""Which system registers KVM_GET_REG_LIST lists, by kernel release and by what a vCPU has.

Data: ``data/listed_registers.json``, read from ``sys_reg_descs[]`` (Linux arch/arm64/kvm/sys_regs.c) of each release:
the entries that hold a register or have ``get_user``, and the function that decides whether a vCPU sees them. The table
is in the order of encodings, and so is the list. What stood beside the table: ``INVARIANT`` (invariant_sys_regs, until
6.15) and ``TIMERS`` (copy_timer_indices in guest.c, until 6.17).
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from layouts.arm64.hosts import encoding_of_text
from layouts.arm64.ids import AIDR, CLIDR, CTR, MIDR, REVIDR, sysreg_id
from layouts.kernels import release_numbers

#: A register that every vCPU has.
ALWAYS = "always"
#: KVM's ids of the virtual timer's counter and comparator are each other's encoding (uapi/asm/kvm.h).
_CNTVCT, _CNTV_CVAL = encoding_of_text("3_3_14_0_2"), encoding_of_text("3_3_14_3_2")
_TIMER_CTL, _TIMER_CNT, _TIMER_CVAL = encoding_of_text("3_3_14_3_1"), _CNTV_CVAL, _CNTVCT
_PTIMER_CTL, _PTIMER_CNT, _PTIMER_CVAL = (encoding_of_text(f"3_3_14_{end}") for end in ("2_1", "0_1", "2_2"))
#: Registers that have only one value, in front of the table: the first release of each set.
_INVARIANT = (
    ((5, 10), (MIDR, REVIDR, CLIDR, AIDR, CTR)),
    ((6, 3), (MIDR, REVIDR, AIDR, CTR)),
    ((6, 11), (MIDR, REVIDR, AIDR)),
    ((6, 15), ()),
)
#: Timers in front of those: the physical timer since 6.4 (commit 3008c8f7e7d6 and its neighbours); none since 6.18.
_TIMERS = (
    ((5, 10), (_TIMER_CTL, _TIMER_CNT, _TIMER_CVAL)),
    ((6, 4), (_TIMER_CTL, _TIMER_CNT, _TIMER_CVAL, _PTIMER_CTL, _PTIMER_CNT, _PTIMER_CVAL)),
    ((6, 18), ()),
)


@cache
def listed(release: str) -> tuple[tuple[int, str], ...]:
    """The system registers of a release as (KVM register id, condition), in the list's order.

    A condition is a name of :mod:`inspector.machine.arm64.listed`, or ``ALWAYS``.
    """
    numbers = release_numbers(release) or (0, 0)
    in_front = (*_newest(_TIMERS, numbers), *_newest(_INVARIANT, numbers))
    table: dict[int, str] = {}
    text = files("layouts.arm64").joinpath("data/listed_registers.json").read_text("utf-8")
    for entry in json.loads(text)["registers"]:
        condition = None
        for since, name in entry["since"]:
            if (release_numbers(since) or (0, 0)) <= numbers:
                condition = name
        if condition is not None:
            table |= dict.fromkeys(map(encoding_of_text, entry["registers"].split()), condition)
    swapped = {_CNTVCT: _TIMER_CNT, _CNTV_CVAL: _TIMER_CVAL}
    rows = [(swapped.get(encoding, encoding), table[encoding]) for encoding in sorted(table)]
    return tuple((sysreg_id(encoding), name) for encoding, name in ((one, ALWAYS) for one in in_front)) + tuple(
        (sysreg_id(encoding), name) for encoding, name in rows
    )


def _newest(table: tuple[tuple[tuple[int, int], tuple[int, ...]], ...], release: tuple[int, ...]) -> tuple[int, ...]:
    return [found for since, found in table if since <= release][-1]
