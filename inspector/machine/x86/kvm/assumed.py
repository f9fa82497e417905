"""KVM as it is loaded on a host of which only CPUID and the kernel are known: the rest is assumed, and said.

Source: Linux arch/x86/kvm/svm/svm.c, vmx/vmx.c (module parameters), arch/x86/kernel/cpu (what Linux makes of CPUID).
"""

from __future__ import annotations

from collections.abc import Mapping

from inspector.capture.host import Cpuid
from inspector.machine.x86.host import Host, booted
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm, Processor
from inspector.machine.x86.kvm.parameters import default_parameters
from layouts.kernels import release_numbers
from layouts.light import lru_cache
from layouts.x86.features import FEATURES
from layouts.x86.kernels import profile_for


@lru_cache(maxsize=64)
def kvm_on(host: Host) -> Kvm:
    """KVM of a host's kernel with its parameters at their defaults; CPUID is as the host's Linux sees it."""
    numbers = release_numbers(host.kernel.release) or (0, 0)
    parameters = default_parameters(host.cpuid, VMX if host.is_intel else SVM, numbers)
    return Kvm(host, release=host.kernel.answers_for or host.kernel.version, parameters=parameters)


def assumed_kvm(
    raw: Cpuid,
    release: str,
    *,
    parameters: Mapping[str, str] | None = None,
    processor: Processor | None = None,
) -> Kvm:
    """KVM of a release on a CPU by its own CPUID; ``parameters`` are those that somebody set. VMX has MPX where it has.

    Raises UnknownReleaseError for a release without a profile.
    """
    seen = booted(raw)
    mpx = Host(seen, profile_for(release)).has(*FEATURES["MPX"])
    host = Host(seen, profile_for(release), vmx_mpx=mpx)
    vendor = VMX if host.is_intel else SVM
    defaults = default_parameters(host.cpuid, vendor, release_numbers(release) or (0, 0))
    return Kvm(
        host,
        release=_with_update(release, host.kernel.version),
        raw=raw,
        parameters={**defaults, **(parameters or {})},
        processor=(processor or Processor())._replace(vmx_mpx=mpx),
    )


def _with_update(release: str, version: str) -> str:
    """A release that names no stable update is taken as the update whose source was read."""
    numbers = release_numbers(release)
    is_bare = release.strip() == ".".join(map(str, numbers or ()))
    return version if is_bare and release_numbers(version) == numbers else release


def assumptions(kvm: Kvm) -> tuple[str, ...]:
    """What is taken as given of a host that was told by CPUID alone, a sentence each."""
    on = [name for name, value in kvm.parameters.items() if value in ("1", "Y")]
    off = [name for name, value in kvm.parameters.items() if value not in ("1", "Y")]
    feature = "VMX" if kvm.is_vmx else "SVM"
    hidden = () if kvm.boot_has(feature) else (f"the CPU has {feature}, which its CPUID does not show",)
    return (
        *hidden,
        f"module parameters at their defaults: {', '.join(on)} on; {', '.join(off)} off",
        "Linux has every feature of the CPU: no clearcpuid=, nopku or noxsave, no feature taken by a mitigation",
    )
