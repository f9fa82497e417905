"""Which fields of ID registers Linux shows its own processes, by release.

Data: ``data/user_visible.json``, read from arm64_ftr_regs (Linux arch/arm64/kernel/cpufeature.c) of each release.
"""

from __future__ import annotations

from layouts.data import data_table
from layouts.kernels import release_numbers
from layouts.light import cache


def hides_speculative_ssbs(release: str) -> bool:
    """Programs do not see SSBS on the cores that mitigations.SPECULATIVE_SSBS has (user_feature_fixup).

    Stable series have it by backport; the 6.6 whose source was read is older.
    """
    return release != "6.6"


@cache
def visible_fields(release: str) -> dict[str, frozenset[int]]:
    """The lowest bits of the fields that are shown, by register; a register without any is left out."""
    data = data_table("arm64/data/user_visible.json")
    numbers = release_numbers(release) or (0, 0)
    found = {}
    for register, rows in data["registers"].items():
        said = [lsbs for since, lsbs in rows if (release_numbers(since) or (0, 0)) <= numbers]
        if said:
            found[register] = frozenset(said[-1])
    return found
