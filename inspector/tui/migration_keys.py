"""The keys of the Migration screen."""

from __future__ import annotations

from inspector.tui.key import Group, Key, Table, line, panes

MIGRATION: Table = (
    Group(
        "Moving",
        (
            panes("the migration, the selected line"),
            line(
                "next, previous line that is in the way",
                Key("n", "in_the_way(1)", "migration.next", "Next ✗", footer=10),
                Key("N", "in_the_way(-1)", "migration.previous", "Previous ✗"),
            ),
        ),
    ),
    Group(
        "Asking again",
        (
            line(
                "another destination: a host, a file, kvm:; @6.12 its kernel alone",
                Key("d,colon", "ask_host", "migration.host", "Host", footer=20),
            ),
            line(
                "the next newer, older kernel of the destination",
                Key("plus", "kernel(1)", "migration.newer", "Kernel", footer=30),
                Key("minus", "kernel(-1)", "migration.older", "Older kernel"),
            ),
            line(
                "the next, the previous VMM (x86)",
                Key("v", "vmm(1)", "migration.vmm", "VMM", footer=40),
                Key("V", "vmm(-1)", "migration.vmm_back", "Previous VMM"),
            ),
            line(
                "the destination's -cpu line (x86); an empty one: the guest's own CPUID",
                Key("m", "ask_model", "migration.model", "Model", footer=50),
            ),
            line(
                "with, without KVM_CAP_ARM_WRITABLE_IMP_ID_REGS (arm64)",
                Key("i", "imp_ids", "migration.imp_ids", "MIDR writable"),
            ),
            line(
                "take the last change back; make it again",
                Key("u", "undo", "migration.undo", "Undo", footer=60),
                Key("ctrl+r", "redo", "migration.redo", "Redo"),
            ),
        ),
    ),
    Group(
        "Looking",
        (
            line(
                "fold and unfold a group, or what a call failed at",
                Key("space,enter", "fold", "migration.fold", "Fold", footer=100),
            ),
            line(
                "every bit that differs, or only those in the way",
                Key("a", "all", "migration.all", "All bits", footer=80),
            ),
            line("back", Key("escape", "app.up", "migration.back", "Back")),
        ),
    ),
    Group(
        "Taking away",
        (
            line(
                "copy the VMM's words for the bit; elsewhere those for all bits at once",
                Key("y", "copy", "migration.copy", "Copy", footer=70),
            ),
            line(
                "copy the command that prints the same",
                Key("Y", "copy_command", "migration.copy_command", "Copy command", footer=90),
            ),
        ),
    ),
)
