"""RISC-V: names only; nothing of it is decoded."""
