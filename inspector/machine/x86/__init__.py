"""The x86 machine: processor, Linux, KVM."""
