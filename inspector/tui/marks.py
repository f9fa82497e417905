"""What the signs of each screen mean, for its help."""

from __future__ import annotations

#: Screen -> headings, each with signs and what they mean.
MARKS: dict[str, tuple[tuple[str, tuple[tuple[str, str], ...]], ...]] = {
    "inspect": (
        (
            "Marks",
            (
                ("▸ ▾", "folded, unfolded"),
                ("~", "edited"),
                ("≠", "another value than before the target was read again (R)"),
                ("initial", "the component's XSTATE_BV bit is 0: its initial value is shown, not the bytes"),
                ("X0101 error", "what contradicts itself (arm64: A...); the detail says why, ! lists all"),
                ("may be stale", "the value can be older than the register was; the detail says why"),
                ("not captured", "the file does not hold it"),
                ("guess", "nothing in the capture says where components lie: the layout is an assumption"),
            ),
        ),
    ),
    "compare": (
        (
            "Marks",
            (
                ("≠", "not as the reference, or as most; in time: changed in this step"),
                ("-", "no such field there"),
                ("▸ ▾", "a section, folded and unfolded"),
                ("◂ 2 more  3 ▸", "columns further to the left and to the right"),
                ("●─3─●━12≠━●", "captures in time: fields that a step changes; ≠ the selected one too"),
            ),
        ),
    ),
    "findings": (("Columns", (("code, how bad", "inspector explain CODE tells more"), ("#0", "the vCPU"))),),
    "calls": (
        (
            "Marks",
            (
                (">", "the first call that the machine answers otherwise"),
                ("≠", "another one"),
                ("not asked", "the log lacks its bytes, or the machine a rule"),
            ),
        ),
    ),
    "timeline": (
        (
            "Marks",
            (
                ("●", "who begins the event"),
                ("◀ ▶ ○", "control goes to the host's side, to the guest's; who acts on the way"),
                ("◇", "the vCPU executes it, and does not leave the guest"),
                ("exits bytes", "all events so far: VM exits, XFD written and read, bytes of buffers"),
                ("≠", "the event changed it: before, after"),
                ("!", "not as the checks say it should be"),
            ),
        ),
    ),
    "against": (
        (
            "Marks",
            (
                ("▶", "the first event of which anything differs"),
                ("≠ ~", "another answer; the same answer, but other changes or other steps of a kernel"),
                ("cannot happen", "there is no such thing there, as a vCPU that could not be created"),
            ),
        ),
    ),
    "migration": (
        (
            "Marks",
            (
                ("✓ ✗ ~ ?", "taken; in the way, or a check that does not hold; warned of; not known"),
                ("not reached", "a call before it has ended the migration; it was asked all the same"),
                ("●", "the guest's state shows that it uses the bit"),
                ("≈", "accepted by everybody, and lost"),
                ("▸ ▾", "a group, folded and unfolded"),
            ),
        ),
    ),
    "fleet": (
        (
            "Marks",
            (
                ("┌ │ └►", "guests of the upper or lower pool may go where the arrow ends, and not back"),
                ("✓ ✗ ?", "hosts that take the guest, that refuse it, of which it is not known"),
                ("class", "hosts that take the same guests and give the same"),
                ("pool", "classes between all of which guests move both ways"),
            ),
        ),
    ),
    "xstate lab": (
        (
            "Columns",
            (
                ("host", "the host's Linux uses it"),
                ("perm gperm", "the process may, its guest may"),
                ("CPUID XCR0 XFD", "of the vCPU; XSS for supervisor components"),
                ("use BV room", "XINUSE (○ contents initial); XSTATE_BV; has room"),
                ("guest's Linux", "its task may; the task's buffer has room"),
                ("touch", "what an instruction on it gives now: ok, an exception, a signal,"),
                ("", "grows (a larger buffer first)"),
            ),
        ),
    ),
    "arm64 lab": (
        (
            "Columns",
            (
                ("host", "its KVM can give guests the feature"),
                ("vCPU", "it was initialized with it; MTE: the VM has the capability"),
                ("is shown", "the field of the guest's ID register"),
                ("using it", "what an instruction gives now: ok, a trap to EL1 (CPACR_EL1), UNDEF"),
            ),
        ),
    ),
    "id lab": (
        (
            "Columns",
            (
                ("host", "the most that a guest may have here"),
                ("model guest", "what the model says; what the guest asks for"),
                ("[value]", "the guest's value among the accepted ones"),
                ("✗ ~", "it blocks; it is not the model's value"),
            ),
        ),
    ),
}
MARKS["start"] = (("Words", (("TARGET", "what else can be opened: inspector open --help"),)),)
MARKS["edits"] = (("Marks", (("+ -", "a bit that was set, cleared"),)),)
MARKS["simulated"] = MARKS["field"] = MARKS["inspect"]
