"""What the words of arm64 events do: KVM, its devices, the guest, a VMM that saves and restores."""
