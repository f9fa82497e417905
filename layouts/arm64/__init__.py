"""arm64: system registers, ID registers, KVM register ids, SVE and SME."""
