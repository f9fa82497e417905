"""``cpuid=`` of xl.cfg, in libxl's words (``host,tm=0``) and in xend's (``1:ecx=xx0...``).

Source: Xen docs/man/xl.cfg.5.pod.in, "cpuid"; tools/libs/light/libxl_cpuid.c.
"""

from __future__ import annotations

import re

from inspector.capture.cpu_line import HOST, BitPlace, CpuLine

_XEND = re.compile(r"(0x[0-9a-fA-F]+|\d+)(?:,(0x[0-9a-fA-F]+|\d+))?((?::|,)e[abcd]x=[01xks]{32})+")
_REGISTER = re.compile(r"(e[abcd]x)=([01xks]{32})")
#: k keeps the host's value over a migration, s too; x is the default policy's.
_POLICIES = "01xks"


def parse_xl_cpuid(text: str) -> CpuLine:
    """The value of ``cpuid``, with or without ``cpuid =``. Raises ValueError.

    Policies x, k and s leave a bit to the host; only 0 and 1 decide it.
    """
    value = text.split("=", 1)[1] if re.match(r"\s*cpuid\s*=", text) else text
    value = value.strip()
    if value.startswith("["):
        bits: dict[BitPlace, int] = {}
        for entry in re.findall(r"[\"']([^\"']*)[\"']", value):
            bits |= _xend(entry)
        return CpuLine("xl", HOST, bits=bits)
    words = value.strip("\"'").split(",")
    if words[0] != HOST:
        if _XEND.fullmatch(value.strip("\"'")):
            return CpuLine("xl", HOST, bits=_xend(value.strip("\"'")))
        raise ValueError(f'expected host, first, or ["LEAF:REGISTER=bits"]; found {words[0][:40]!r}')
    switches: dict[str, bool] = {}
    properties: dict[str, str] = {}
    for word in words[1:]:
        name, equals, policy = word.strip().partition("=")
        if not equals or not name:
            raise ValueError(f"expected feature=0, 1, x, k or s; found {word[:40]!r}")
        if policy in ("0", "1") and name not in ("family", "model", "stepping", "maxleaf"):
            switches[name] = policy == "1"
        elif policy not in _POLICIES or name in ("family", "model", "stepping", "maxleaf"):
            properties[name] = policy
    return CpuLine("xl", HOST, switches, properties)


def _xend(entry: str) -> dict[BitPlace, int]:
    found = _XEND.fullmatch(entry.strip())
    if not found:
        raise ValueError(f"expected LEAF[,SUBLEAF]:REGISTER=32 of 0, 1, x, k, s; found {entry[:60]!r}")
    leaf, subleaf = int(found[1], 0), int(found[2] or "0", 0)
    return {
        (leaf, subleaf, register, 31 - place): int(character)
        for register, mask in _REGISTER.findall(entry)
        for place, character in enumerate(mask)
        if character in "01"
    }
