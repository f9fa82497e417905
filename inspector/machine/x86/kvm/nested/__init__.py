"""KVM_GET_NESTED_STATE and KVM_SET_NESTED_STATE: the header, and the vendors' formats.

Source: Linux arch/x86/kvm/x86.c (kvm_arch_vcpu_ioctl, cases KVM_GET_NESTED_STATE and KVM_SET_NESTED_STATE).
"""
