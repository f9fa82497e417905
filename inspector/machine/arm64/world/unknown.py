"""What an answer of a host that is known in part hangs on: it is played as the host likely is, and says so.

Source: the kernel's check of an ID register's value (arm64_check_features), asked for all that a field may be.
"""

from __future__ import annotations

from inspector.machine.arm64 import idregs
from inspector.machine.arm64.host import FEATURES_OF_SWITCH
from inspector.machine.arm64.models.partial import PartialHost, is_switched_off
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64.ids import RegisterId
from layouts.arm64.properties import FieldPlace
from layouts.vocabulary import Bits


def told(outcome: Outcome, hangs_on: str) -> Outcome:
    """The answer, or ``depends-on`` where it hangs on something; what was done stays done."""
    if not hangs_on:
        return outcome
    rule = Rule(outcome.source, outcome.evidence)
    rule.checks += outcome.checks
    return rule.depends(f"{hangs_on}, which nobody read: {outcome.name} if it is as is likely")


def of_features(vcpu: Vcpu, features: int) -> str:
    """The vCPU features that the host may lack."""
    host = vcpu.host
    if not isinstance(host, PartialHost) or not features & host.open_features:
        return ""
    names = [name for name, bits in FEATURES_OF_SWITCH.items() if features & host.open_features & bits]
    return f"{host.name}'s {', '.join(names)}"


def of_write(vcpu: Vcpu, register_id: int, value: int, only: Bits | None = None) -> str:
    """The field of an ID register that decides whether a value is taken; ``only`` this one is written."""
    host, encoding = vcpu.host, RegisterId(register_id).encoding
    if not isinstance(host, PartialHost) or encoding not in vcpu.vm.id_registers or vcpu.vm.ran:
        return ""
    likely = _is_taken(vcpu, host, register_id, value)
    for place in host.open:
        is_meant = only is None or (only.lsb, only.width) == (place.lsb, place.width)
        if place.encoding != encoding or not is_meant or is_switched_off(place, vcpu.features):
            continue
        if any(_is_taken(vcpu, host, register_id, value, (place, one)) != likely for one in host.values(place)):
            return f"{host.name}'s {place.register}.{place.name}"
    return ""


def _is_taken(
    vcpu: Vcpu, host: PartialHost, register_id: int, value: int, supposed: tuple[FieldPlace, int] | None = None
) -> bool:
    """The kernel takes the value, if a field of the host is what is supposed."""
    encoding = RegisterId(register_id).encoding
    own, supposing = vcpu.id_value(encoding), host
    if supposed is not None:
        place, number = supposed
        own = place.put(own, number)
        supposing = host.supposing(encoding, place.mask, number << place.lsb)  # type: ignore[assignment]
    asked = idregs.IdWrite(supposing, encoding, value, vcpu.id_features, own, vcpu.vm.ran, vcpu.vm.writable_imp)
    return idregs.write(asked).outcome.accepted
