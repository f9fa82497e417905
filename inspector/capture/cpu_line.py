"""What one line or file of a VMM says of a guest's CPU, in the VMM's own words."""

from __future__ import annotations

from collections.abc import Mapping

from layouts.light import NamedTuple

#: A CPUID bit: leaf, sub-leaf, register in lower case, bit.
BitPlace = tuple[int, int, str, int]
HOST = "host"


class CpuLine(NamedTuple):
    """A guest's CPU as a VMM is told it.

    ``model`` is the name that stands there, ``host`` for the host's own CPU. ``switches`` are features by the VMM's
    name, on or off; ``policies`` the same in libvirt's words; ``properties`` all else. ``bits`` are CPUID bits that
    are set outright (0 or 1), ``msr_bits`` the same of MSRs; what no feature name says is only there.
    """

    vmm: str
    model: str
    switches: Mapping[str, bool] = {}
    properties: Mapping[str, str] = {}
    policies: Mapping[str, str] = {}
    bits: Mapping[BitPlace, int] = {}
    msr_bits: Mapping[tuple[int, int], int] = {}
    machine: str = ""
