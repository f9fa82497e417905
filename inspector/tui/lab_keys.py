"""The keys of the labs, of their timeline and of two worlds side by side.

What happens to a world is behind the leader: letters typed by mistake let nothing happen. Only the scenario's next
event, and undo, have keys of their own.
"""

from __future__ import annotations

from inspector.tui.key import LEADER, LEADER_ID, Group, Key, Table, line, merged, panes

#: The titles of groups whose keys are behind the leader begin so; the panel says the rest.
EVENTS = "Events: "

#: What both kinds of labs have.
_LAB: Table = (
    Group(
        "Taking back",
        (
            line(
                "take the last one back; let it be again",
                Key("u", "undo", "lab.undo", "Undo", footer=20),
                Key("ctrl+r", "redo", "lab.redo", "Redo"),
            ),
        ),
    ),
    Group(
        "Taking away",
        (
            line("copy the command that shows the same", Key("y", "yank", "lab.yank", "Copy command")),
            line("save the machine as a capture", Key("S", "save", "lab.save", "Save as capture")),
            line("its bytes in the Inspect screen", Key("o", "bytes", "lab.bytes", "Bytes", footer=70)),
            line("back", Key("escape", "app.up", "lab.back", "Back")),
        ),
    ),
)


def _events(lab: str) -> Group:
    """How to come to events that have no key of their own."""
    return Group(
        "Events",
        (
            line(
                "the keys of events; then its letter plays one, Esc closes",
                Key(LEADER, "leader", LEADER_ID, "Events", footer=15),
                Key("enter", "leader", "lab.events", "Events of the selected"),
            ),
            line(
                "type any event (inspector sim --help lists them)",
                Key("colon", "ask", f"{lab}.ask", "Event", footer=80),
            ),
        ),
    )


def _offered(lab: str) -> Group:
    """What comes after an event that did not go well."""
    return Group(
        f"{EVENTS}offered",
        (
            line(
                "do the first of the steps that the outcome offers",
                Key("space full_stop", "suggested", f"{lab}.suggested", "Offered step", footer=86),
            ),
        ),
    )


def _scenario(lab: str, way: str) -> Group:
    """What there is to do with all events."""
    return Group(
        "The scenario",
        (
            line("the next event", Key("n", "next", f"{lab}.next", "Next", footer=10)),
            line(
                "the timeline, with the whole state before and after",
                Key("T", "timeline", f"{lab}.timeline", "Timeline", footer=65),
            ),
            line(
                f"all events again on another host, kernel or {way}",
                Key("W", "elsewhere", f"{lab}.elsewhere", "Elsewhere", footer=82),
            ),
            line(
                "the same events here and elsewhere, side by side",
                Key("A", "against", f"{lab}.against", "Against", footer=84),
            ),
            line(
                "save the events as a file (inspector sim FILE)",
                Key("ctrl+s", "save_events", f"{lab}.save_events", "Save events"),
            ),
        ),
    )


def _vcpus(lab: str) -> tuple[Key, Key]:
    """The keys that go from vCPU to vCPU."""
    return (
        Key("left_square_bracket", "vcpu(-1)", f"{lab}.vcpu_back", "Previous vCPU"),
        Key("right_square_bracket", "vcpu(1)", f"{lab}.vcpu_on", "Next vCPU"),
    )


_XSTATE_LAB: Table = (
    Group(
        "Moving",
        (
            panes("components, timeline, outcome"),
            line("search components by name or number", Key("slash", "search", "xstate.search", "Search")),
            line("another vCPU", *_vcpus("xstate")),
            line(
                "what a column says",
                Key("left", "column(-1)", "xstate.column_back", "Previous column"),
                Key("right", "column(1)", "xstate.column_on", "Next column"),
            ),
            line(
                "the buffer or the gates (low terminals)",
                Key("m", "picture_of", "xstate.picture_of", "Buffer or gates"),
            ),
            line("host's or guest's Linux (narrow terminals)", Key("L", "levels", "xstate.levels", "Host or guest")),
        ),
    ),
    _scenario("xstate", "policy"),
    _events("xstate"),
    Group(
        f"{EVENTS}the selected component",
        (
            line(
                "toggle it: guest XSETBV with all that goes with it, WRMSR of XFD",
                Key("space x", "flip('XCR0')", "xstate.xcr0", "XCR0"),
                Key("space f", "flip('XFD')", "xstate.xfd", "XFD"),
            ),
            line(
                "toggle its bit of XCR0 alone", Key("space X", "flip('XCR0 bit')", "xstate.xcr0_bit", "XCR0 bit alone")
            ),
            line(
                "ask permission for the guest, for the process",
                Key("space p", "event('arch_prctl REQ_XCOMP_GUEST_PERM {row}')", "xstate.permit", "Permit guests"),
                Key("space P", "event('arch_prctl REQ_XCOMP_PERM {row}')", "xstate.permit_process", "Permit process"),
            ),
        ),
    ),
    Group(
        f"{EVENTS}VMM",
        (
            line(
                "KVM_CREATE_VCPU, KVM_SET_CPUID2",
                Key("space v", "event('KVM_CREATE_VCPU')", "xstate.create", "Create vCPU"),
                Key("space c", "event('KVM_SET_CPUID2 supported')", "xstate.cpuid", "Set CPUID"),
            ),
            line(
                "KVM_GET_XSAVE, KVM_GET_XSAVE2",
                Key("space 1", "event('KVM_GET_XSAVE')", "xstate.get_xsave", "KVM_GET_XSAVE"),
                Key("space 2", "event('KVM_GET_XSAVE2')", "xstate.get_xsave2", "KVM_GET_XSAVE2"),
            ),
        ),
    ),
    Group(
        f"{EVENTS}runs",
        (
            line(
                "KVM_RUN; return from it; a VM exit",
                Key("space r", "event('KVM_RUN')", "xstate.run", "Run"),
                Key("space b", "event('return')", "xstate.return", "Return from KVM_RUN"),
                Key("space E", "event('exit')", "xstate.exit", "VM exit"),
            ),
            line(
                "preempt; a softirq uses the FPU",
                Key("space e", "event('preempt')", "xstate.preempt", "Preempt"),
                Key("space i", "event('softirq')", "xstate.softirq", "Softirq"),
            ),
        ),
    ),
    Group(
        f"{EVENTS}guest",
        (
            line(
                "guest LDTILECFG, TILELOADD; Linux boots in the guest",
                Key("space a", "event('guest ldtilecfg')", "xstate.ldtilecfg", "LDTILECFG"),
                Key("space l", "event('guest tileloadd 0')", "xstate.tileload", "TILELOADD"),
                Key("space B", "event('guest boot')", "xstate.boot", "Boot the guest"),
            ),
        ),
    ),
    _offered("xstate"),
    Group(
        "Looking",
        (
            line(
                "why: from the host's CPU to the guest's program, what is in the way",
                Key("w", "why", "xstate.why", "Why", footer=60),
            ),
        ),
    ),
)

_ARM64_LAB: Table = (
    Group(
        "Moving",
        (
            panes("features, timeline, outcome"),
            line("search features by name, field or instruction", Key("slash", "search", "arm64.search", "Search")),
            line("another vCPU", *_vcpus("arm64")),
            line(
                "the ID registers of this host, in their lab; Esc there: back",
                Key("I", "registers", "arm64.registers", "ID registers"),
            ),
            line("the next host", Key("H", "host", "arm64.host", "Host")),
        ),
    ),
    _scenario("arm64", "SVE interface"),
    _events("arm64"),
    Group(
        f"{EVENTS}the selected feature",
        (
            line(
                "KVM_ARM_VCPU_INIT with the feature, or without it; its instruction",
                Key("space x", "feature", "arm64.feature", "Ask"),
                Key("space i", "execute", "arm64.execute", "Use"),
            ),
        ),
    ),
    Group(
        f"{EVENTS}VMM",
        (
            line(
                "KVM_CREATE_VM, KVM_CREATE_VCPU",
                Key("space m", "event('KVM_CREATE_VM')", "arm64.vm", "Create VM"),
                Key("space v", "event('KVM_CREATE_VCPU')", "arm64.vcpu", "Create vCPU"),
            ),
            line(
                "KVM_ARM_VCPU_FINALIZE SVE; KVM_RUN",
                Key("space f", "event('KVM_ARM_VCPU_FINALIZE SVE')", "arm64.finalize", "Finalize SVE"),
                Key("space r", "event('KVM_RUN')", "arm64.run", "Run"),
            ),
            line(
                "save all registers, set those that were saved",
                Key("space less_than_sign", "event('KVM_GET_ONE_REG all')", "arm64.save", "Save registers"),
                Key("space greater_than_sign", "event('KVM_SET_ONE_REG saved')", "arm64.restore", "Set registers"),
            ),
        ),
    ),
    Group(
        f"{EVENTS}guest",
        (
            line(
                "the guest turns FP, SVE and SME on in CPACR_EL1",
                Key("space c", "event('guest msr CPACR_EL1 0x3330000')", "arm64.cpacr", "CPACR_EL1: all on"),
            ),
        ),
    ),
    _offered("arm64"),
    Group(
        "Looking",
        (line("why: what is between the feature and the guest", Key("w", "why", "arm64.why", "Why", footer=60)),),
    ),
)

_ID_LAB: Table = (
    Group(
        "Moving",
        (
            panes("properties, outcome"),
            line(
                "search by name, register or feature (SVE2); next, previous match",
                Key("slash", "search", "idlab.search", "Search"),
                Key("n", "again(1)", "idlab.again", "Next match"),
                Key("N", "again(-1)", "idlab.again_back", "Previous match"),
            ),
            line("the next line that is in the way", Key("b", "blocker", "idlab.blocker", "Blocker", footer=30)),
            line("all properties, or only those that can change", Key("a", "all", "idlab.all", "All properties")),
        ),
    ),
    Group(
        "Trying",
        (
            line(
                "the next and the previous value, accepted or not",
                Key("right,plus", "value(1)", "idlab.next", "Try", footer=5),
                Key("left,minus", "value(-1)", "idlab.previous", "Try the previous"),
            ),
            line(
                "the next accepted value; a switch or length on or off",
                Key("space", "accepted", "idlab.toggle", "Next", footer=10),
            ),
            line(
                "type a value, feat_AES=aes or SYSREG_ID_AA64ISAR0_EL1_AES=1",
                Key("colon,enter", "ask", "idlab.ask", "Set", footer=15),
            ),
            line(
                "another model; - for the host's own (-cpu host)",
                Key("m", "model", "idlab.model", "Model"),
            ),
            line(
                "a second host, which is to take the guest too",
                Key("d", "second", "idlab.second", "Host B", footer=26),
            ),
            line("SVE's interface: as merged, as proposed", Key("A", "abi", "idlab.abi", "SVE interface")),
        ),
    ),
    Group(
        "Looking",
        (
            line("summary: usable or not, conflicts, blockers", Key("i", "summary", "idlab.summary", "Summary")),
            line(
                "play: events on this host, this guest to come; Esc there: back",
                Key("P", "play", "idlab.play", "Play"),
            ),
            line("what a VMM calls, and what KVM answers", Key("w", "calls", "idlab.calls", "Calls")),
            line(
                "the migration of this guest to the second host",
                Key("M", "migrate", "idlab.migrate", "Move", footer=65),
            ),
        ),
    ),
)

TIMELINE: Table = (
    Group(
        "Moving",
        (panes("events, state", footer=10), line("back", Key("escape,T", "app.up", "timeline.back", "Back"))),
    ),
)

AGAINST: Table = (
    Group(
        "Moving",
        (
            line(
                "the next and the previous event that differs",
                Key("n", "next(1)", "against.next", "Next ≠", footer=10),
                Key("N", "next(-1)", "against.previous", "Previous ≠"),
            ),
            line("the first difference", Key("1", "first", "against.first", "First ≠", footer=20)),
            line("back", Key("escape,A", "app.up", "against.back", "Back")),
        ),
    ),
)

XSTATE_LAB = merged(_XSTATE_LAB, _LAB)
ARM64_LAB = merged(_ARM64_LAB, _LAB)
ID_LAB = merged(_ID_LAB, _LAB)
