"""What comes of a request on a host: what is in the way, what it hangs on, and which calls a VMM makes."""

from __future__ import annotations

import pytest

from inspector.machine.arm64.host import PMU_V3, POWER_OFF, PSCI_0_2, PTRAUTH, SVE, Host
from inspector.machine.arm64.models.partial import Open, PartialHost
from inspector.machine.arm64.models.realize import Blocker, ask, assumed, blockers_of, open_of, realize, refusal
from inspector.machine.arm64.models.request import Request, parse_words, request
from layouts.arm64.ids import CTR, DCZID, DFR0, ISAR0, MIDR, MMFR0, PFR0, encoding_of_op
from layouts.arm64.named_models import parse_model
from layouts.arm64.properties import FieldPlace, field_places
from tests.machine.arm64_bounds import bare_host, full_host

NONE = parse_words([])
ISAR5, ISAR6 = (encoding_of_op((3, 0, 0, 2, op2)) for op2 in (5, 7))
AES, SHA1, RNDR = (field_places()["ID_AA64ISAR0_EL1", name] for name in ("AES", "SHA1", "RNDR"))
REVISION = field_places()["MIDR_EL1", "Revision"]
MODEL = parse_model('name = "mine-v1"\n[[values]]\nsource = "s"\n[values.properties]\nfeat_AES = "aes"', "mine.toml")

#: Armv8 debug, a PIPT cache and 40 bits of an IPA, without which no kernel takes its own values.
CPU = {DFR0: 6, CTR: 3 << 14, MMFR0: 2}


def wanting(host: Host, registers: dict[int, int], *words: str) -> Request:
    """The host's own, but for some registers."""
    own = request(None, parse_words(words), host)
    return own._replace(registers={**own.registers, **registers})


# What is in the way


def test_features_that_a_host_lacks() -> None:
    """In the order of KVM_ARM_VCPU_*."""
    host = bare_host({})
    asked = request(None, parse_words(["sve=on", "pauth=on", "pmu=on", "sve128=on"]), host)
    text = "the host does not support this vCPU feature"
    assert blockers_of(asked, host)[:3] == [Blocker(name, None, 1, 0, text) for name in ("pmu", "sve", "pauth")]


def test_a_blocker_has_the_name_that_was_used() -> None:
    host = bare_host({ISAR0: 1 << AES.lsb})
    for word in ("feat_AES=pmull", "SYSREG_ID_AA64ISAR0_EL1_AES=2"):
        (found,) = blockers_of(request(None, parse_words([word]), host), host)
        assert found == Blocker(word.partition("=")[0], AES, 2, 1, "AES is at most 1 (found 2)")
    (found,) = blockers_of(wanting(host, {ISAR0: 2 << AES.lsb}), host)
    assert found.name == "feat_AES"


@pytest.mark.parametrize(
    ("encoding", "value", "found"),
    [
        # Bits of no field.
        (ISAR0, 1, [("ID_AA64ISAR0_EL1", None, 1, 0, "bits 0x1 are not writable")]),
        (ISAR0, 1 | 1 << AES.lsb, [
            ("feat_AES", "AES", 1, 0, "AES is at most 0 (found 1)"),
            ("ID_AA64ISAR0_EL1", None, 1 | 1 << AES.lsb, 0, "bits 0x1 are not writable"),
        ]),
        # Fields of AArch32 registers have no property of their own.
        (ISAR5, 0x11, []),
        (ISAR5, 0x1121, [
            ("SYSREG_ID_ISAR5_EL1_SHA2", "SHA2", 1, 0, "SHA2 is at most 0 (found 1)"),
            ("SYSREG_ID_ISAR5_EL1_SHA1", "SHA1", 1, 0, "SHA1 is at most 0 (found 1)"),
        ]),
        (ISAR6, 1 << 31 | 1, [("ID_ISAR6_EL1", None, 1 << 31 | 1, 0x11, "bits 0x80000000 are not writable")]),
    ],
)  # fmt: skip
def test_what_is_in_the_way(encoding: int, value: int, found: list[tuple[str, str | None, int, int, str]]) -> None:
    host = bare_host({ISAR5: 0x21, ISAR6: 0x11})
    blockers = blockers_of(wanting(host, {encoding: value}), host)
    assert [
        (one.name, one.place.name if one.place else None, one.wanted, one.host, one.why) for one in blockers
    ] == found
    assert all(one.place is None or one.place.encoding == encoding for one in blockers)


def test_registers_behind_one_that_is_the_hosts() -> None:
    host = bare_host({ISAR0: 1 << AES.lsb, MMFR0: 5})
    found = blockers_of(wanting(host, {PFR0: host.limits[PFR0], ISAR0: 2 << AES.lsb, MMFR0: 5}), host)
    assert [one.name for one in found] == ["feat_AES"]


def test_a_register_that_kvm_does_not_have() -> None:
    """Of a model what it names; of another host's guest what it has there. Others in the way are told too."""
    host = bare_host({})
    asked = request(MODEL, parse_words(["hw_prop_BS=0"]), host)
    asked = asked._replace(registers={**asked.registers, DCZID: 0x10})
    told = [one.name for one in blockers_of(asked, host)]
    assert told[-1] == "hw_prop_BS"
    assert {"feat_AES", "hw_prop_BS"} <= set(told)
    assert "hw_prop_DZP" not in told
    own = wanting(host, {ISAR0: 1 << AES.lsb})
    own = own._replace(registers={DCZID: 0x14, **own.registers})
    assert [one.name for one in blockers_of(own, host)] == ["hw_prop_DZP", "hw_prop_BS", "feat_AES"]


def test_who_the_cpu_is() -> None:
    """KVM_CAP_ARM_WRITABLE_IMP_ID_REGS; CLIDR_EL1 is each vCPU's own (set_clidr)."""
    for kernel, blocked in (("7.2", []), ("6.12", ["cpu_revision"])):
        host = bare_host({MIDR: 0x410F_D400}, kernel)
        found = blockers_of(wanting(host, {MIDR: 0x410F_D401}), host)
        assert [one.name for one in found] == blocked


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (AES, 1, ""),
        (AES, 2, ""),
        (AES, 3, "AES is at most 2 (found 3)"),
        # Of two fields at once, each counts.
        (FieldPlace("both", AES.lsb, 8, register="", encoding=ISAR0), 0x11, ""),
        (FieldPlace("both", AES.lsb, 8, register="", encoding=ISAR0), 0x22, "SHA1 is at most 1 (found 2)"),
        (FieldPlace("low", 0, 4, register="", encoding=ISAR0), 1, "not writable; the host has 0 (found 1)"),
        (FieldPlace("bit", 0, 1, register="", encoding=ISAR0), 1, "not writable; the host has 0 (found 1)"),
    ],
)
def test_why_a_value_is_refused(place: FieldPlace, value: int, why: str) -> None:
    assert refusal(bare_host({ISAR0: 2 << AES.lsb | 1 << SHA1.lsb}), PSCI_0_2, place, value) == why


# What an answer hangs on


def in_part(kernel: str = "7.2", **fields: tuple[int, int]) -> PartialHost:
    limits = {**CPU, PFR0: 0x11 | 1 << 32, ISAR0: 0x22 | 1 << RNDR.lsb, MIDR: 0x410F_D400}
    host = PartialHost(full_host(kernel, limits), "")
    by_name = {place.name: place for place in field_places().values()}
    host.open = {by_name[name]: values for name, values in fields.items()}
    return host


def test_fields_that_an_answer_hangs_on() -> None:
    """Who the CPU is decides nothing: where it cannot be written, a guest has the host's."""
    older = in_part("6.12", Revision=(0, 3))
    assert open_of(wanting(older, {}), older) == []
    host = in_part(RNDR=(0, 1), AES=(0, 2), Revision=(0, 3))
    asked = wanting(host, {ISAR0: 0x32 | 1 << RNDR.lsb, MIDR: 0x410F_D401})
    why = "AES is at most 2 (found 3)"
    assert open_of(asked, host) == [Open("feat_RNDR", RNDR, 1, 1, "")]
    assert refusal(host, PSCI_0_2, AES, 3) == why
    host.open[AES] = (0, 3)
    assert open_of(asked, host) == [Open("feat_RNDR", RNDR, 1, 1, ""), Open("feat_AES", AES, 3, 2, why)]
    assert assumed(asked, host, open_of(asked, host)).limits[ISAR0] == 0x32 | 1 << RNDR.lsb
    assert assumed(asked, full_host(), []).limits == full_host().limits
    made = realize(asked, host)
    assert (made.blockers, made.accepted, made.verdict) == ((), True, "depends")


def test_a_wide_field_may_be_just_what_is_wanted() -> None:
    """Of a field that nobody may write, of which both ends are known."""
    host = in_part()
    wide = FieldPlace("wide", 48, 12, register="ID_AA64DFR1_EL1", encoding=encoding_of_op((3, 0, 0, 5, 1)))
    host.open = {wide: (0, 0x800)}
    own = host.limits.get(wide.encoding, 0)
    asked = wanting(host, {wide.encoding: wide.put(own, 0x123)})
    assert [(one.place, one.wanted) for one in open_of(asked, host)] == [(wide, 0x123)]


# The calls of a VMM


def calls(asked: Request, host: Host, abi: str = "merged") -> list[str]:
    return [write.event for write in ask(asked, host, abi)[1]]


def test_what_is_the_hosts_is_not_written() -> None:
    """Who the CPU is, but where it differs; CLIDR_EL1 never."""
    host = bare_host({MIDR: 0x410F_D400, MMFR0: 2})
    own = calls(wanting(host, {}), host)
    assert own[:2] == ["KVM_CREATE_VCPU 0", f"KVM_ARM_VCPU_INIT {host.features & ~POWER_OFF & PSCI_0_2:#x}"]
    assert not [one for one in own if "MIDR" in one or "CLIDR" in one or "CAP" in one]
    other = calls(wanting(host, {MIDR: 0x410F_D401}), host)
    assert other[0] == "KVM_ENABLE_CAP KVM_CAP_ARM_WRITABLE_IMP_ID_REGS"
    assert "KVM_SET_ONE_REG MIDR_EL1 0x410fd401" in other


def test_nothing_is_asked_of_a_vcpu_that_could_not_be_made() -> None:
    host = bare_host({MMFR0: 2})
    asked = request(None, parse_words(["pmu=on"]), host)
    made = ["KVM_CREATE_VCPU 0", f"KVM_ARM_VCPU_INIT {PSCI_0_2 | PMU_V3:#x}"]
    assert calls(asked, host) == made
    assert calls(wanting(host, {MIDR: 1}, "pmu=on"), host)[1:] == made


@pytest.mark.parametrize(
    ("abi", "lengths"),
    [
        ("merged", ["KVM_SET_ONE_REG KVM_REG_ARM64_SVE_VLS 0x3", "KVM_ARM_VCPU_FINALIZE SVE"]),
        ("proposal", ["KVM_ARM_VCPU_SET_SVE_VLS 0x3"]),
    ],
)
def test_lengths_by_either_interface(abi: str, lengths: list[str]) -> None:
    host = bare_host({**CPU, PFR0: 0x11 | 1 << 32}, vls=(16, 32))
    asked = request(None, NONE, host)
    assert asked.features & (SVE | PTRAUTH) == SVE
    assert calls(asked, host, abi)[2 : 2 + len(lengths)] == lengths
    made = realize(asked, host, abi)
    assert made.usable
    assert [write.event for write in made.writes] == calls(asked, host, abi)
    without = request(None, parse_words(["sve=off"]), host)
    assert not [one for one in calls(without, host, abi) if "SVE_VLS" in one]
