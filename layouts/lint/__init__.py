"""Rules of ``inspector lint``: what contradicts itself, what then happens, what to change. Data; the checks are code.

A code never changes its meaning. ``X`` is x86, ``A`` arm64; the first two digits are the group: 01 the XSAVE image,
02 control registers and segments, 03 MSRs, 04 CPUID, 05 events and APIC, 06 clocks, 07 what a VMM did not save;
of arm64 01 features, 02 vectors, 03 register lists, 04 several vCPUs, 05 counters and timers.
"""
