"""Recorded answers of KVM/x86 to the restoring of vCPUs, section by section."""
