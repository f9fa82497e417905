"""What is asked of QEMU: a model, a machine type, the user's properties."""

from __future__ import annotations

from collections.abc import Mapping

from layouts.light import TYPE_CHECKING, NamedTuple
from layouts.x86.models.features import feature_named
from layouts.x86.models.qemu import NEWEST, CpuModel, Machine, Models, machine_named, qemu_models

if TYPE_CHECKING:
    from typing import Any

HOST, MAX, BASE = "host", "max", "base"
#: CPUID_VENDOR_SZ.
_VENDOR_BYTES = 12
_ON, _OFF = ("on", "yes", "true", "y"), ("off", "no", "false", "n")


class RequestError(ValueError):
    """Something that QEMU would not take: which word, what was expected."""


class Request(NamedTuple):
    """A guest CPU as a VMM asks for it.

    ``model`` is None for host, max and base. ``switches`` are the user's features, ``properties`` the other words.
    """

    name: str
    model: CpuModel | None
    models: Models
    machine: Machine
    switches: Mapping[str, bool]
    properties: Mapping[str, str]

    @property
    def of_host(self) -> bool:
        """Whether the host's own features are taken."""
        return self.name in (HOST, MAX)

    @property
    def enforce(self) -> bool:
        """Whether a missing feature ends the start."""
        return self.flag("enforce", otherwise=False)

    def number(self, name: str, otherwise: int) -> int:
        """A numeric property of the user or of the machine. Raises RequestError."""
        text = self.properties.get(name, self.machine.sets(self.name).get(name, otherwise))
        try:
            return int(str(text), 0)
        except ValueError:
            raise RequestError(f"{name}={text}: expected a number") from None

    def flag(self, name: str, *, otherwise: bool) -> bool:
        """A boolean property of the user or of the machine. Raises RequestError."""
        value: Any = self.properties.get(name, self.machine.sets(self.name).get(name, otherwise))
        return is_on(str(value))


def is_on(text: str) -> bool:
    """A boolean as QEMU reads it. Raises RequestError."""
    if text.lower() in _ON:
        return True
    if text.lower() in _OFF:
        return False
    raise RequestError(f"expected on or off, found {text[:40]!r}")


def request(
    name: str,
    switches: Mapping[str, bool] | None = None,
    properties: Mapping[str, str] | None = None,
    *,
    machine: str = "",
    qemu: str = "",
) -> Request:
    """A request by names. Raises RequestError for what that QEMU does not know.

    ``qemu`` is a version of QEMU; without it the newest known.
    """
    models = qemu_models(qemu or NEWEST)
    found = models.named(name)
    if found is None and name not in (HOST, MAX, BASE):
        raise RequestError(f"QEMU {models.version} has no CPU model {name[:60]!r}")
    wanted = machine_named(machine)
    if wanted is None:
        raise RequestError(f"expected a machine type such as pc-q35-9.0, found {machine[:60]!r}")
    vendor = (properties or {}).get("vendor")
    if vendor is not None and len(vendor.encode(errors="surrogateescape")) != _VENDOR_BYTES:
        raise RequestError(f"vendor={vendor[:60]}: expected {_VENDOR_BYTES} characters")
    canonical = {}
    for word, on in (switches or {}).items():
        feature = feature_named(word)
        if not feature or feature in models.lacks:
            raise RequestError(f"QEMU {models.version} has no feature {word[:60]!r}")
        canonical[feature] = on
    return Request(name, found, models, wanted, canonical, dict(properties or {}))
