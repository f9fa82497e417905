"""KVM_SET_MSRS, KVM_GET_MSRS and the index lists: every MSR that KVM knows, one module a group."""
