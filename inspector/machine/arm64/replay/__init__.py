"""Recorded answers of KVM/arm64, replayed against the machine."""
