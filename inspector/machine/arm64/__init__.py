"""arm64: hosts, KVM's register interface, SVE, ID registers, named CPU models."""
