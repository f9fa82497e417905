"""What the Migration screen works on, without a screen."""

from __future__ import annotations

from functools import cache

import pytest

from inspector.capture.errors import InputError, UsageError
from inspector.cli.main import main
from inspector.readers.options import NO_OPTIONS
from inspector.targets.host_names import completed
from inspector.targets.moves import Move
from inspector.targets.schemes import capture_of
from inspector.tui.migration_picture import BitRow, CallRow, LostRow, Part, RemedyRow
from inspector.tui.migration_session import Heading, MigrationSession, Words
from inspector.tui.migrations import session_of, session_of_vcpu
from inspector.tui.widgets.prompt import Completions, beginning

CET = Move("sample:sapphire-rapids/linux-6.18", "sapphire-rapids@6.1", vmm="firecracker")
AMX = Move("sample:amx", "milan@6.18")
ARM = Move("sample:graviton3/linux-6.18", "neoverse-n1@7.2")


def session(move: Move) -> MigrationSession:
    return session_of(move, NO_OPTIONS)


@cache
def seen(move: Move) -> MigrationSession:
    """One that no test changes."""
    return session(move)


def bit(found: MigrationSession, name: str) -> BitRow:
    return next(line for line in found.lines if isinstance(line, BitRow) and line.name == name)


def test_the_first_refused_call_is_open_and_the_cursor_is_on_it() -> None:
    found = seen(CET)
    at = found.start()
    call = found.lines[at]
    assert isinstance(call, CallRow)
    assert (call.name, call.answer, call.ends) == ("KVM_SET_MSRS", "20 of 47", True)
    assert "Only a partial write was done" in call.then
    part = found.lines[at + 1]
    assert isinstance(part, Part)
    assert part.name == "MSR_LASTINTFROMIP 0x1dd"


def test_calls_behind_the_end_are_not_reached() -> None:
    found = seen(AMX)
    reached = {call.name: found.is_reached(call) for call in found.picture.calls}
    assert reached["KVM_SET_XSAVE"]
    assert not reached["KVM_SET_XCRS"]


def test_bits_are_in_groups_by_who_decided() -> None:
    found = seen(CET)
    heads = [line.text for line in found.lines if isinstance(line, Heading)]
    assert heads[1:3] == ["decided by silicon: 2 bits", "decided by kernel: 8 bits"]
    cet = bit(found, "cet-ss")
    assert (cet.by, cet.blocks, cet.in_use) == ("kernel", True, False)
    assert "Linux 6.18 shows cet-ss" in cet.origin
    assert cet.noticed == "not in use now: IA32_U_CET, IA32_S_CET are 0"


def test_what_is_copied_is_the_chosen_vmms() -> None:
    found = session(CET._replace(vmm="qemu"))
    assert found.remedy(bit(found, "cet-ss")) == "-cpu ...,-cet-ss"
    assert not found.step_vmm(1)
    assert found.vmm == "libvirt"
    assert found.remedy(bit(found, "cet-ss")) == "<feature policy='disable' name='cet-ss'/>"
    every = found.remedy(found.lines[0])
    assert every.startswith("<feature policy='disable' name='dtes64'/>")
    assert found.undo() == ""
    assert found.remedy(found.lines[0]) == "-cpu ...,-dtes64,-ds,-cet-ss,-cet-ibt,-flush-l1d,-fzrm,-fsrs,-fsrc"


def test_all_remedies_say_what_remains() -> None:
    row = next(line for line in seen(CET).lines if isinstance(line, RemedyRow))
    assert not row.arrives
    assert row.still[0].startswith("KVM_SET_MSRS (MSR_LASTINTFROMIP")
    move = Move("EPYC-Milan", "EPYC-Rome", vmm="libvirt")
    row = next(line for line in seen(move).lines if isinstance(line, RemedyRow))
    assert row.arrives


def test_what_is_lost_in_silence_is_told() -> None:
    lost = [line for line in seen(CET).lines if isinstance(line, LostRow)]
    assert "the guest goes on seeing what is not there: 10 bits" in lost[0].text


@pytest.mark.parametrize("move", [CET, ARM])
def test_another_kernel_and_back(move: Move) -> None:
    found = session(move)
    before = found.picture
    first = found.kernel
    assert not found.step_kernel(-1)
    assert found.kernel != first
    assert found.move.destination.endswith(f"@{found.kernel}")
    assert found.undo() == ""
    assert (found.picture, found.kernel) == (before, first)
    assert found.undo() == "nothing to undo"
    assert not found.redo()
    assert found.redo() == "nothing to redo"
    for _ in range(40):
        wrong = found.step_kernel(1)
        if wrong:
            break
    assert wrong.endswith("is the newest kernel that is known")


def test_another_host_and_its_kernel_alone() -> None:
    found = session(CET)
    assert not found.go_to_host("@6.18")
    assert found.move.destination == "sapphire-rapids@6.18"
    assert found.picture.verdict == "arrives"
    assert not found.go_to_host("ice-lake@6.18")
    assert found.picture.verdict == "refused"
    before = found.move
    assert found.go_to_host("nothing").startswith("nothing: no such CPU or file")
    assert "kernel" in found.go_to_host("ice-lake@2.6")
    assert found.move == before


def test_a_line_of_a_model_goes_with_those_that_have_one() -> None:
    found = session(Move("sample:kvm-vcpus/genoa-linux-7.2", "sample:kvm-vcpus/genoa-linux-7.2"))
    assert not found.choose_model("-cpu EPYC-Genoa,-smap")
    assert bit(found, "smap").by == "VMM"
    assert "--model EPYC-Genoa,-smap" in found.command()
    assert found.choose_model("EPYC-None").startswith("EPYC-None")
    for expected in ("libvirt", "cloud-hypervisor"):
        assert not found.step_vmm(1)
        assert found.vmm == expected
    assert found.move.model == ""
    assert session(ARM).choose_model("host").startswith("a line of a model goes with x86")
    assert "no other VMM" in session(ARM).step_vmm(1)


def test_the_capability_of_midr_is_a_key() -> None:
    """KVM_CAP_ARM_WRITABLE_IMP_ID_REGS: with it MIDR_EL1 is in nobody's way, and undo takes it back."""
    found = session(ARM)
    assert "MIDR_EL1" in found.picture.because
    assert not found.toggle_imp_ids()
    assert "MIDR_EL1" not in found.picture.because
    assert found.command().endswith("--imp-ids")
    remedy = found.picture.remedy
    assert remedy is not None
    assert remedy.arrives
    found.undo()
    assert not found.move.imp_ids
    assert session(CET).toggle_imp_ids() == "KVM_CAP_ARM_WRITABLE_IMP_ID_REGS goes with arm64 vCPUs"


def test_groups_fold_and_other_bits_are_shown() -> None:
    found = session(CET)
    count = len(found.lines)
    heading = next(line for line in found.lines if isinstance(line, Heading) and line.group == "kernel")
    assert found.fold(heading)
    assert (len(found.lines), found.is_folded(heading)) == (count - 8, True)
    found.fold(heading)
    call = found.lines[found.start()]
    found.fold(call)
    assert len(found.lines) == count - 9
    found.fold(call)
    assert not found.fold(bit(found, "cet-ss"))
    found.show_all_bits()
    assert any(isinstance(line, BitRow) and not line.blocks for line in found.lines)
    assert found.find(bit(found, "cet-ss")) is not None


def test_the_way_leads_round_what_is_in_the_way() -> None:
    found = seen(AMX)
    at, places = found.start(), []
    for _ in range(len(found.lines)):
        at = found.next_in_the_way(at) or 0
        places.append(at)
    assert {type(found.lines[at]) for at in places} == {CallRow, BitRow, LostRow}
    assert places[0] in places[1:]
    assert found.next_in_the_way(places[1], -1) == places[0]


def test_arm64_has_the_same_lines() -> None:
    found = seen(ARM)
    call = found.lines[found.start()]
    assert isinstance(call, CallRow)
    assert call.name == "KVM_SET_ONE_REG MIDR_EL1"
    assert bit(found, "PartNum").by == "VMM"
    dit = bit(found, "DIT")
    assert (dit.by, dit.where, dit.remedies["qemu"]) == ("silicon", "ID_AA64PFR0_EL1", "feat_DIT=off")
    with_ids = seen(ARM._replace(imp_ids=True))
    row = next(line for line in with_ids.lines if isinstance(line, RemedyRow))
    assert row.arrives, row.still
    assert row.line.startswith("-cpu ...,feat_DIT=off,feat_RAS=1.0")


def test_arm64_says_which_kernel_decides() -> None:
    found = seen(Move("neoverse-v1@7.2", "neoverse-v1@6.6"))
    kinds = {line.by for line in found.lines if isinstance(line, BitRow)}
    assert "kernel" in kinds
    assert any("takes it; 6.6 does not" in line.origin for line in found.lines if isinstance(line, BitRow))


@pytest.mark.parametrize("move", [CET, AMX, ARM, ARM._replace(imp_ids=True, abi="proposal")])
def test_the_command_says_the_same(move: Move, capsys: pytest.CaptureFixture[str]) -> None:
    found = seen(move)
    assert main(found.command().split()[1:]) == 1
    assert "the destination refuses the vCPU" in capsys.readouterr().out


def test_an_edited_vcpu_moves_as_edited() -> None:
    capture = capture_of("sample:kvm-vcpus/milan-linux-6.18")
    found = session_of_vcpu(capture, capture.vcpus[0], "milan@6.18")
    assert found.command().startswith("inspector migrate sample:kvm-vcpus/milan-linux-6.18 milan@6.18")
    area = capture.vcpus[0].area("xcr")
    assert area is not None
    area.data = area.data[:16] + (0x40207).to_bytes(8, "little") + area.data[24:]
    found = session_of_vcpu(capture, capture.vcpus[0], "milan@6.18")
    assert found.command() == ""
    assert any(call.name == "KVM_SET_XCRS" and call.held is False for call in found.picture.calls)


def test_what_cannot_move_says_why() -> None:
    capture = capture_of("sample:amx")
    with pytest.raises(UsageError, match="this capture has none"):
        session_of_vcpu(capture, None, "milan")
    with pytest.raises(UsageError, match="no such CPU or file"):
        session_of_vcpu(capture, capture.vcpus[0], "nothing")
    with pytest.raises(UsageError, match="go with x86"):
        session(ARM._replace(vmm="qemu"))
    with pytest.raises(UsageError, match="no vCPU 9; it has"):
        session_of(AMX, NO_OPTIONS, 9)
    arm = capture_of("sample:arm64-threads/cortex-a57-72.core.gz")
    with pytest.raises(InputError, match="KVM registers"):
        session_of_vcpu(arm, arm.vcpus[0], "neoverse-n1")


@pytest.mark.parametrize(
    ("source", "destination", "why"),
    [
        ("sample:qemu-kvm-x87/migration-stream.xz", "milan@6.18", "the guest's CPUID was not captured"),
        ("sample:amx", "tcg:10.0", "the destination is TCG of QEMU 10.0"),
    ],
)
def test_without_a_call_it_says_why(source: str, destination: str, why: str) -> None:
    found = session(Move(source, destination))
    (said,) = (line.text for line in found.lines if isinstance(line, Words) and "no call of KVM" in line.text)
    assert said.startswith(f"no call of KVM is asked: {why}")


def test_names_are_completed() -> None:
    assert "milan" in completed("mil", "x86")
    assert completed("kvm:", "x86") == ["kvm:"]
    assert completed("sapphire-rapids@6.1", "x86")[:1] == ["sapphire-rapids@6.19"]
    assert completed("GRAV", "arm64")[0].startswith("graviton")
    assert completed("neoverse-v1@5", "arm64") == ["neoverse-v1@5.10"]
    assert completed("/no/such/folder/x", "x86") == []
    assert "samples/" in completed("./sam", "x86")[0]
    assert beginning(["sapphire-rapids", "sap"]) == "sap"
    assert beginning([]) == ""
    go = Completions(lambda text: [word for word in ("milan", "miller", "mix") if word.startswith(text)])
    assert go.go_on("m")[0] == "mi"
    assert [go.go_on("mi")[0], go.go_on("milan")[0], go.go_on("miller")[0]] == ["milan", "miller", "mix"]
    assert go.go_on("x") == ("x", [])
