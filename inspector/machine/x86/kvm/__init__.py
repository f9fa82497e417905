"""KVM: a VM, its vCPUs, what ioctls answer, how a guest runs."""
