"""Why the machine is not asked for some recorded answers."""

from __future__ import annotations

OTHER_SYSREG = "values of the PMU, of timers and of EL2 have rules that the machine does not know"
GUEST_CODE = "values that guest code computed"
EL0 = "what Linux shows its own processes (MRS from EL0)"
MEMORY = "memory slots"
TIMER = "the recorder's timer ended the run"
HIDDEN = "the answer hangs on a field of the host that KVM hides (MPAM, MPAM_frac, NV)"
RECALLED = "the host is what the file itself shows"
