"""Simulated hosts: Events in, Outcomes out, by the kernel's own rules."""
