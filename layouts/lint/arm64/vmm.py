"""A07xx: what one VMM loses or refuses of such a state. Asked with ``--vmm``."""

from __future__ import annotations

from layouts.lint.rule import LintRule

RULES = (
    LintRule(
        "A0701",
        "error",
        "Cloud Hypervisor without pull request 8062 does not restore SVE",
        "The vCPU has SVE.",
        "It sets V registers, which KVM refuses with EINVAL, drops Z and P, and finalizes with the host's lengths.",
        "Use a Cloud Hypervisor that has it, or hide SVE.",
        "github.com/cloud-hypervisor/cloud-hypervisor, pull request 8062",
        ("cloud-hypervisor",),
    ),
)
