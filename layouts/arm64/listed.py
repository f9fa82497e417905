"""Which system registers KVM_GET_REG_LIST lists, by kernel release and by what a vCPU has.

Data: ``data/listed_registers.json``, read from ``sys_reg_descs[]`` (Linux arch/arm64/kvm/sys_regs.c) of each release:
the entries that hold a register or have ``get_user``, and the function that decides whether a vCPU sees them. The table
is in the order of encodings, and so is the list. What stood beside the table: ``INVARIANT`` (invariant_sys_regs, until
6.15) and ``TIMERS`` (copy_timer_indices in guest.c, until 6.17).
"""

from __future__ import annotations

from layouts.arm64.hosts import encoding_of_text
from layouts.arm64.ids import AIDR, CLIDR, CTR, MIDR, REVIDR, op_of_encoding, sysreg_id
from layouts.data import data_table
from layouts.kernels import release_numbers
from layouts.light import TYPE_CHECKING, cache

if TYPE_CHECKING:
    from typing import Any

#: What was said of a register since which release; None: nothing any more.
_Since = tuple[tuple[tuple[int, int], str | None], ...]
#: A register that every vCPU has.
ALWAYS = "always"
#: Conditions that no vCPU without EL2 meets.
OF_EL2 = {
    *("cnthv", "el2", "elx2", "fgt", "fgt2", "nvhcr_el2", "vncr_el2"),
    *("s1pie_el2", "s1poe_el2", "sctlr2_el2", "sve_el2", "tcr2_el2"),
}
#: What reset_unknown leaves (sys_regs.h).
UNKNOWN = 0x1DE7EC7EDBADC0DE
#: KVM's ids of the virtual timer's counter and comparator are each other's encoding (uapi/asm/kvm.h).
_CNTVCT, _CNTV_CVAL = encoding_of_text("3_3_14_0_2"), encoding_of_text("3_3_14_3_2")
TIMER_CTL, TIMER_CNT, TIMER_CVAL = encoding_of_text("3_3_14_3_1"), _CNTV_CVAL, _CNTVCT
PTIMER_CTL, PTIMER_CNT, PTIMER_CVAL = (encoding_of_text(f"3_3_14_{end}") for end in ("2_1", "0_1", "2_2"))
_SWAPPED = {_CNTVCT: TIMER_CNT, _CNTV_CVAL: TIMER_CVAL}
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
    table = _of_release("registers", release)
    rows = [(_SWAPPED.get(encoding, encoding), table[encoding]) for encoding in sorted(table)]
    return tuple((sysreg_id(encoding), ALWAYS) for encoding in _in_front(numbers)) + tuple(
        (sysreg_id(encoding), name) for encoding, name in rows
    )


def condition(release: str, register_id: int) -> str | None:
    """The condition of a system register by its KVM register id; None where the release does not list it."""
    return _conditions(release)[register_id]


#: After so many, all are looked up at once.
_MANY = 256


class _Conditions(dict[int, str | None]):
    """The conditions that were asked for: a move asks a dozen kernels about a dozen registers each, a sweep for all."""

    def __init__(self, release: str) -> None:
        self._release, self._is_whole = release, False
        self._numbers = release_numbers(release) or (0, 0)

    def __missing__(self, register_id: int) -> str | None:
        if self._is_whole:
            return None
        if len(self) >= _MANY:
            self.update(listed(self._release))
            self._is_whole = True
            return self.get(register_id)
        encoding = register_id & 0xFFFF
        found = None
        if register_id == sysreg_id(encoding):
            text = "_".join(map(str, op_of_encoding(_SWAPPED.get(encoding, encoding))))
            found = _said(_since().get(text, ()), self._numbers)
            found = ALWAYS if found is None and encoding in _in_front(self._numbers) else found
        self[register_id] = found
        return found


@cache
def _since() -> dict[str, _Since]:
    """What was said of each register of the table, as its text."""
    since: dict[str, _Since] = {}
    for entry in _data()["registers"]:
        since |= dict.fromkeys(entry["registers"].split(), _numbered(entry["since"]))
    return since


_conditions = cache(_Conditions)


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


def _numbered(said: list[tuple[str, str | None]]) -> _Since:
    return tuple((release_numbers(since) or (0, 0), word) for since, word in said)


def _said(since: _Since, numbers: tuple[int, int]) -> str | None:
    said = [word for first, word in since if first <= numbers]
    return said[-1] if said else None


def _in_front(numbers: tuple[int, int]) -> tuple[int, ...]:
    return (*_newest(_TIMERS, numbers), *_newest(_INVARIANT, numbers))


def _of_release(part: str, release: str) -> dict[int, str]:
    """What a release says of each encoding."""
    numbers = release_numbers(release) or (0, 0)
    found: dict[int, str] = {}
    for entry in _data()[part]:
        said = _said(_numbered(entry["since"]), numbers)
        if said is not None:
            found |= dict.fromkeys(map(encoding_of_text, entry["registers"].split()), said)
    return found


def _newest(table: tuple[tuple[tuple[int, int], tuple[int, ...]], ...], release: tuple[int, ...]) -> tuple[int, ...]:
    return [found for since, found in table if since <= release][-1]
