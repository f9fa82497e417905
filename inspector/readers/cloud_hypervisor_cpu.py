"""``--cpus boot=4,features=amx,profile=host`` of Cloud Hypervisor.

Source: Cloud Hypervisor docs/cpu.md; vmm/src/config.rs, CpusConfig::parse.
"""

from __future__ import annotations

from inspector.capture.cpu_line import HOST, CpuLine

_KEYS = frozenset(
    "boot max topology kvm_hyperv max_phys_bits affinity features nested core_scheduling profile".split()  # noqa: SIM905
)
#: Words of ``features=``, and the features that each leaves on; without the word they are off.
FEATURES = {"amx": ("amx-bf16", "amx-tile", "amx-int8")}


def parse_cpus(text: str) -> CpuLine:
    """A line, with or without ``--cpus``. Raises ValueError."""
    properties: dict[str, str] = {}
    for word in text.strip().removeprefix("--cpus").strip().split(","):
        key, equals, value = word.partition("=")
        if not equals or key not in _KEYS:
            raise ValueError(f"expected {', '.join(sorted(_KEYS))} with a value; found {word[:40]!r}")
        properties[key] = value
    asked = set(filter(None, properties.get("features", "").strip("[]").split("&")))
    unknown = asked - set(FEATURES)
    if unknown:
        raise ValueError(f"features: expected {', '.join(FEATURES)}; found {sorted(unknown)[0][:40]!r}")
    switches = {feature: False for word, names in FEATURES.items() if word not in asked for feature in names}
    if properties.get("nested") == "off":
        switches |= {"vmx": False, "svm": False}
    if "max_phys_bits" in properties:
        properties["host-phys-bits-limit"] = properties["max_phys_bits"]
    return CpuLine("cloud-hypervisor", properties.get("profile", HOST).lower(), switches, properties)
