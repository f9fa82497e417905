"""The stage: a host, its programs and a VM, to which events happen."""
