"""x86: XSAVE components, registers, MSRs, KVM structures and CPU layouts."""
