"""Scenarios, events as words, undo, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.capture.host import Cpuid
from inspector.cli.main import main
from inspector.export.machine_state import changes_of
from inspector.machine.events import EventError
from inspector.machine.x86.host import Host
from inspector.machine.x86.world.world import World
from layouts.scenario import Scenario
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import POLICIES, Policy, X86Kernel, kernels
from layouts.x86.scenarios import SCENARIOS
from tests.machine.support import events_of, policy_of, world

#: The verdicts of each scenario, event by event; what is not named is accepted.
REFUSED = {
    "snapshot-einval": {7: "EINVAL"},
    "permission-too-late": {2: "EBUSY", 3: "EPERM"},
    "no-amx-in-guest": {4: "#GP", 6: "#UD"},
    "guest-xfd": {7: "#NM"},
    "xfd-drops-tiles": {},
    "host-oops": {8: "host-oops"},
    "process-sigill": {2: "SIGILL", 6: "SIGILL"},
    "small-altstack": {2: "ENOSPC", 5: "ENOMEM"},
    "rfc-on-demand": {},
    "rfc-preempt": {},
    "rfc-softirq": {},
    "allocation-fails": {4: "EFAULT", 9: "SIGSEGV"},
    "restore-4096": {},
    "restore-order": {15: "host-oops"},
    "two-buffers": {},
    "two-vcpus": {13: "#NM"},
    "threads": {},
    "signal-frame": {9: "ENOMEM"},
    "ptrace": {3: "EINVAL", 4: "EFAULT"},
    "xsave-under-xfd": {9: "#NM"},
    "td-without-amx": {2: "EINVAL", 7: "#GP", 8: "#GP", 10: "#UD", 11: "EINVAL"},
    "cet-to-older-kernel": {},
    "apx-next": {3: "EINVAL", 5: "EINVAL", 6: "depends-on", 8: "depends-on"},
    "transcript-vm-boot": {},
    "transcript-vm-sigill": {10: "SIGILL"},
    "transcript-vm-amx": {},
    "transcript-tdx": {10: "SIGILL"},
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenarios_come_to_their_verdicts(scenario: Scenario) -> None:
    found = world(scenario.host, scenario.kernel, policy_of(scenario.policy))
    for event in scenario.events:
        found.happen(event)
    names = {number: step.outcome.name for number, step in enumerate(found.steps, 1) if not step.outcome.accepted}
    assert names == REFUSED[scenario.name]


def test_the_bytes_that_xfd_drops_are_counted() -> None:
    found = world()
    for event in events_of("xfd-drops-tiles"):
        found.happen(event)
    lost = found.steps[7]
    assert changes_of(lost)["vCPU 0 XSTATE_BV"] == ("0x60200", "0x20200")
    # 1024 bytes of tile 0 less the four that were zero, and one byte of XSTATE_BV.
    assert lost.bytes_changed == 1021


@pytest.mark.parametrize(
    "event",
    ["", "nonsense", "arch_prctl", "arch_prctl REQ_XCOMP_PERM x", "guest xsetbv 1", "KVM_SET_CPUID2 what",
     "sigaltstack -1", "process nop", "KVM_CHECK_EXTENSION KVM_CAP_NR_VCPU", "KVM_SET_XCRS 0x10000000000000000"],
)  # fmt: skip
def test_words_that_are_no_event_change_nothing(event: str) -> None:
    found = world()
    before = found.state()
    with pytest.raises(EventError):
        found.happen(event)
    assert found.state() == before
    assert found.steps == []


EVENTS = [
    *sorted({event for scenario in SCENARIOS for event in scenario.events}),
    "fork",
    "KVM_SET_CPUID2 avx-only",
    "KVM_SET_CPUID2 no-amx",
    "KVM_SET_XCRS 7",
    "KVM_SET_XSAVE 0x60200",
    "KVM_SET_XSAVE",
    "guest vmovdqu64 17",
    "guest tilezero 0",
    "guest tilerelease",
    "process tilerelease",
]


@settings(max_examples=400, deadline=None)
@given(
    cpu=st.sampled_from(sorted(cpu_layouts())),
    kernel=st.sampled_from([*kernels().values()]),
    policy=st.sampled_from(POLICIES),
    events=st.lists(st.sampled_from(EVENTS), max_size=25),
)
def test_undo_is_identity(cpu: str, kernel: X86Kernel, policy: Policy, events: list[str]) -> None:
    found = world(cpu, kernel.name, policy)
    seen = []
    for event in events:
        now = snapshot(found)
        try:
            found.happen(event)
        except EventError:
            assert snapshot(found) == now
        else:
            seen.append(now)
            check_room(found)
    while seen:
        assert found.undo() is not None
        assert snapshot(found) == seen.pop()
    assert found.undo() is None


def check_room(found: World) -> None:
    """What is in use has room, in memory and for what is in the processor."""
    vcpu = found.vcpu
    if vcpu is not None:
        assert not vcpu.fpstate.xstate_bv & ~vcpu.fpstate.xfeatures
        assert len(vcpu.user_image()) == vcpu.uabi_size_bytes


def snapshot(found: World) -> object:
    """All that the machine holds, as bytes would be compared."""
    return parts(found.process), parts(found.vm), parts(found.host_linux), found.state()


def parts(thing: object, depth: int = 0) -> object:
    """The state of an object and of what it holds, by name."""
    if isinstance(thing, (int, str, bytes, type(None), tuple, Host)):
        return thing
    if isinstance(thing, Cpuid):
        return thing.leaves
    if isinstance(thing, dict):
        return {key: parts(value, depth + 1) for key, value in thing.items()}
    if isinstance(thing, list):
        return [parts(value, depth + 1) for value in thing]
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    names = [*getattr(thing, "__dict__", {}), *slots]
    skipped = ("linux", "process", "trace", "_machine", "policy", "current", "owner", "cpu", "thread", "_run", "host")
    return {name: parts(getattr(thing, name), depth + 1) for name in names if name not in skipped}


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "list"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert {name for name in listed if not name.startswith("arm64-")} == set(REFUSED)
    assert main(["sim", "snapshot-einval"]) == 1
    out = capsys.readouterr().out
    assert "EINVAL; this does not hold: the state fits in 4096 bytes" in out
    assert "ok, 11008 bytes" in out
    assert main(["sim", "process-sigill", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [event["name"] for event in found["events"]] == ["ok", "SIGILL", "ok", "ok", "ok", "SIGILL"]
    assert found["events"][1]["checks"][-1] == {"text": "the process has permission for component 18", "held": False}


def test_new_events_on_another_host(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sim", "new", "--host", "zen5", "--kernel", "6.12", "--event", "arch_prctl REQ_XCOMP_PERM 18"]
    assert main(words) == 1
    assert "EOPNOTSUPP" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["sim", "nothing"], ["sim", "new", "--host", "z80"], ["sim", "new", "--event", "x"]])
def test_bad_usage_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_saved_image_opens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiles.xsave"
    assert (
        main(
            [
                "sim",
                "xfd-drops-tiles",
                "--event",
                "guest wrmsr XFD 0",
                "--event",
                "guest tileloadd 0",
                "--save",
                str(path),
            ]
        )
        == 0
    )
    assert path.stat().st_size == 11008
    capsys.readouterr()
    words = ["show", str(path), "--as", "kvm-xsave", "--layout", "sapphire-rapids", "--json"]
    assert main([*words, "--field", "xsave.xtiledata.tmm[0]", "--field", "xsave.header.xstate_bv"]) == 0
    fields = {field["path"]: field for field in json.loads(capsys.readouterr().out)["vcpus"][0]["fields"]}
    assert fields["xsave.xtiledata.tmm[0]"]["bytes"] == (bytes(range(256)) * 4).hex()
    assert fields["xsave.header.xstate_bv"]["value"] == "0x60200"
    assert main(["sim", "guest-xfd", "--save", str(path)]) == 2
    assert main(["sim", "process-sigill", "--save", str(tmp_path / "none")]) == 2


def steps_of(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    main(["sim", "restore", "--json", *words])
    found = json.loads(capsys.readouterr().out)
    return {event["event"]: event["name"] for event in found["events"]}


def test_a_captured_vcpu_is_restored(capsys: pytest.CaptureFixture[str]) -> None:
    for number in ("0", "1"):
        names = steps_of(capsys, "--from", "sample:amx", "--vcpu", number)
        assert "KVM_SET_XSAVE captured" in names
        assert set(names.values()) == {"ok"}


def test_a_restore_on_a_lesser_host_names_the_step_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    names = steps_of(capsys, "--from", "sample:amx", "--host", "skylake-x")
    refused = {event: name for event, name in names.items() if name != "ok"}
    assert refused == {
        "arch_prctl REQ_XCOMP_GUEST_PERM 18": "EOPNOTSUPP",
        "KVM_SET_CPUID2 captured": "EPERM",
        "KVM_SET_XSAVE captured": "EINVAL",
        "KVM_SET_XCRS 0x602e7": "EINVAL",
    }


@pytest.mark.parametrize(
    "words",
    [["sim", "restore"], ["sim", "restore", "--from", "sample:qemu-arm64-max/migration-stream.gz"],
     ["sim", "new", "--event", "KVM_CREATE_VCPU", "--event", "KVM_SET_XSAVE captured"],
     ["sim", "restore", "--from", "sample:amx", "--vcpu", "9"]],
)  # fmt: skip
def test_what_cannot_be_restored_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.strip().count("\n") == 0
