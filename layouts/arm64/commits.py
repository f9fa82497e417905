"""Commits of Linux that changed a rule of arm64 profiles, where they can be named: by the profile's field.

Source: the commit's title in Linux' history; the field's meaning is told in :class:`layouts.arm64.kernels.Arm64Kernel`.
"""

from __future__ import annotations

COMMITS = {
    "ignores_mpam": ("6685f5d572c2", "KVM: arm64: Disable MPAM visibility by default and ignore VMM writes"),
    "keeps_vcpu_ids": ("e016333745c7", "KVM: arm64: Only reset vCPU-scoped feature ID regs once"),
    "reports_masks": ("3f9cd0ca8484", "KVM: arm64: Allow userspace to get the writable masks for feature ID registers"),
    "virtual_caches": ("7af0c2534f4c", "KVM: arm64: Normalize cache configuration"),
}
