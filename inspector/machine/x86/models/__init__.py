"""Named x86 CPU models on hosts: what a guest gets, what is missing, who turned each bit on or off."""
