"""inspector: what every bit of a vCPU's register state means, and what the kernel says."""

__version__ = "0.2.0"
