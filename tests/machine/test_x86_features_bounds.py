"""Features and bugs that Linux concludes, by vendor, family and model (kernel/cpu/common.c, amd.c, hygon.c)."""

from __future__ import annotations

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.host import Host
from inspector.machine.x86.linux import features
from layouts.x86.features import FEATURES
from layouts.x86.kernels import profile_for

INTEL, AMD, HYGON = "GenuineIntel", "AuthenticAMD", "HygonGenuine"
IBRS_ALL, SSB_NO, PBRSB_NO = 1 << 1, 1 << 4, 1 << 24
NO_TSA = {"TSA_SQ_NO", "TSA_L1_NO"}
BRTYPE = {"IBPB_BRTYPE", "SBPB"}


def host(vendor: str, family: int, model: int, *names: str) -> Host:
    """A processor with these features and no other."""
    low = min(family, 0xF)
    eax = (family - low) << 20 | model >> 4 << 16 | low << 8 | (model & 0xF) << 4
    ebx, edx, ecx = (int.from_bytes(vendor[at : at + 4].encode(), "little") for at in (0, 4, 8))
    words: dict[tuple[int, int], list[int]] = {(0, 0): [0xD, ebx, ecx, edx], (1, 0): [eax, 0, 0, 0]}
    for leaf, subleaf, register, bit in (FEATURES[name] for name in names):
        words.setdefault((leaf, subleaf), [0, 0, 0, 0])[register] |= 1 << bit
    leaves: dict[tuple[int, int], CpuidValues] = {at: (a, b, c, d) for at, (a, b, c, d) in words.items()}
    return Host(Cpuid(leaves), profile_for("7.2"))


@pytest.mark.parametrize(
    ("told", "concluded"),
    [
        ("SPEC_CTRL", {"IBRS", "IBPB", "MSR_SPEC_CTRL"}),
        ("INTEL_STIBP", {"STIBP"}),
        ("SPEC_CTRL_SSBD", {"SSBD"}),
        ("VIRT_SSBD", {"SSBD"}),
        ("AMD_IBRS", {"IBRS", "MSR_SPEC_CTRL"}),
        ("AMD_IBPB", {"IBPB"}),
        ("AMD_STIBP", {"STIBP", "MSR_SPEC_CTRL"}),
        ("AMD_SSBD", {"SSBD", "MSR_SPEC_CTRL"}),
        ("XMM2", {"LFENCE_RDTSC"}),
    ],
)
def test_each_bit_and_what_linux_makes_of_it(told: str, concluded: set[str]) -> None:
    """init_speculation_control, init_intel; of all bits together, all of these."""
    assert features.synthesized(host(INTEL, 6, 0x8F, told), (7, 2)) == concluded
    assert concluded < features.synthesized(
        host(INTEL, 6, 0x8F, "SPEC_CTRL", "AMD_SSBD", "AMD_STIBP", "XMM2", told), (7, 2)
    )


@pytest.mark.parametrize(
    ("vendor", "family", "model", "told", "concluded"),
    [
        (INTEL, 6, 0x8F, "", set()),
        (AMD, 0x14, 1, "", NO_TSA),
        (AMD, 0x15, 1, "", NO_TSA | {"LS_CFG_SSBD"}),
        (AMD, 0x15, 1, "VIRT_SSBD", NO_TSA | {"SSBD"}),
        (AMD, 0x15, 1, "AMD_SSBD", NO_TSA | {"SSBD", "MSR_SPEC_CTRL"}),
        (AMD, 0x17, 0x31, "", NO_TSA | {"LS_CFG_SSBD"}),
        (AMD, 0x17, 0x31, "AMD_IBPB", NO_TSA | {"LS_CFG_SSBD", "IBPB", "IBPB_BRTYPE"}),
        (AMD, 0x19, 1, "", {"VERW_CLEAR"} | BRTYPE),
        (AMD, 0x19, 1, "AMD_IBPB", {"VERW_CLEAR", "IBPB"} | BRTYPE),
        (AMD, 0x19, 1, "IBPB_BRTYPE", {"VERW_CLEAR"}),
        (AMD, 0x19, 1, "HYPERVISOR", set()),
        (AMD, 0x1A, 2, "", NO_TSA | BRTYPE),
        (AMD, 0x1A, 2, "IBPB_BRTYPE", NO_TSA),
        (HYGON, 0x18, 1, "", {"LS_CFG_SSBD"}),
        (HYGON, 0x18, 1, "AMD_IBPB", {"LS_CFG_SSBD", "IBPB"}),
        (HYGON, 0x18, 1, "AMD_SSBD", {"SSBD", "MSR_SPEC_CTRL"}),
        (HYGON, 0x18, 1, "HYPERVISOR", set()),
    ],
)
def test_what_linux_adds_to_amd_and_hygon(vendor: str, family: int, model: int, told: str, concluded: set[str]) -> None:
    """bsp_init_amd, tsa_init and init_amd; bsp_init_hygon has the first of these alone."""
    assert features.synthesized(host(vendor, family, model, *told.split()), (7, 2)) == concluded


@pytest.mark.parametrize(
    ("family", "model", "before", "after"),
    [
        (0x17, 0x31, NO_TSA, NO_TSA | {"TSA_FILL_NO"}),
        (0x19, 0x11, {"VERW_CLEAR"}, {"VERW_CLEAR", "TSA_FILL_NO"}),
        *((0x1A, model, NO_TSA, set()) for model in (0, 0x2F, 0x40, 0x4F, 0x60, 0x7F, 0xD0, 0xD7)),
        *((0x1A, model, NO_TSA, NO_TSA | {"TSA_FILL_NO"}) for model in (0x30, 0x3F, 0x50, 0x5F, 0x80, 0xCF, 0xD8)),
        (0x17, 0, NO_TSA, NO_TSA | {"TSA_FILL_NO"}),
    ],
)
def test_zen_5_is_asked_itself_where_tsa_fill_is_known(
    family: int, model: int, before: set[str], after: set[str]
) -> None:
    """tsa_init of 6.12.117 and 7.3.4, and of the releases between."""
    told = host(AMD, family, model, "IBPB_BRTYPE", "AMD_SSBD")
    for release in ((5, 10, 262), (6, 1, 192), (6, 11), (6, 12, 117), (6, 16, 1), (7, 2, 13), (7, 3), (7, 4, 0)):
        found = features.synthesized(told, release) - {"SSBD", "MSR_SPEC_CTRL"}
        assert found == (after if release[:2] in ((6, 12), (7, 3), (7, 4)) else before), release


@pytest.mark.parametrize(
    ("vendor", "family", "told", "word"),
    [
        (INTEL, 6, "AMD_IBPB", 0),
        (AMD, 0x15, "AMD_IBPB", 3 << 11),
        (AMD, 0x17, "", 3 << 11),
        (AMD, 0x17, "AMD_IBPB", 7 << 11 & ~(1 << 13) | 1 << 14),
        (AMD, 0x19, "", 1 << 13),
        (AMD, 0x19, "AMD_IBPB", 3 << 13),
        (AMD, 0x19, "AMD_IBPB HYPERVISOR", 0),
        (AMD, 0x1A, "AMD_IBPB", 3 << 11),
        (HYGON, 0x18, "", 0),
        (HYGON, 0x18, "AMD_IBPB", 1 << 14),
    ],
)
def test_word_22_of_5_10(vendor: str, family: int, told: str, word: int) -> None:
    assert features.lnx_5(host(vendor, family, 1, *told.split())) == word


@pytest.mark.parametrize(
    ("vendor", "family", "model", "told", "clears"),
    [
        (INTEL, 6, 0x8F, "", True),
        (AMD, 0x17, 0x2F, "", False),
        (AMD, 0x17, 0x2F, "NULL_SEL_CLR_BASE", True),
        (AMD, 0x17, 0x30, "", True),
        (AMD, 0x17, 0x30, "HYPERVISOR", False),
        (AMD, 0x15, 0x60, "", False),
        (AMD, 0x19, 0x61, "", False),
        (AMD, 0x19, 0x61, "NULL_SEL_CLR_BASE", True),
        (HYGON, 0x18, 1, "", False),
        (HYGON, 0x18, 1, "NULL_SEL_CLR_BASE", True),
    ],
)
def test_a_null_selector_and_the_base(vendor: str, family: int, model: int, told: str, clears: bool) -> None:
    assert ("NULL_SEG" in features.bugs(host(vendor, family, model, *told.split()))) is not clears


@pytest.mark.parametrize(
    ("vendor", "family", "model", "told", "stores"),
    [
        (INTEL, 6, 0x8F, "", True),
        (INTEL, 6, 0x8F, "AMD_SSB_NO", False),
        *((INTEL, 6, model, "", False) for model in (0x0E, 0x37, 0x4A, 0x4C, 0x4D, 0x57, 0x5A, 0x75, 0x85)),
        (INTEL, 15, 0x37, "", True),
        ("CentaurHauls", 6, 0x37, "", True),
        *((AMD, family, 1, "", family > 0x12) for family in (0x0F, 0x10, 0x11, 0x12, 0x14, 0x15, 0x1A)),
        ("CentaurHauls", 0x0F, 1, "", True),
        (AMD, 0x17, 1, "AMD_SSB_NO", False),
    ],
)
def test_stores_that_are_bypassed(vendor: str, family: int, model: int, told: str, stores: bool) -> None:
    assert ("SPEC_STORE_BYPASS" in features.bugs(host(vendor, family, model, *told.split()))) is stores


@pytest.mark.parametrize(
    ("vendor", "family", "model", "msr", "found"),
    [
        (INTEL, 6, 0x8F, None, {"EIBRS_PBRSB", "SPEC_STORE_BYPASS"}),
        (INTEL, 6, 0x8F, 0, {"SPEC_STORE_BYPASS"}),
        (INTEL, 6, 0x8F, IBRS_ALL, {"EIBRS_PBRSB", "SPEC_STORE_BYPASS"}),
        (INTEL, 6, 0x8F, IBRS_ALL | PBRSB_NO, {"SPEC_STORE_BYPASS"}),
        (INTEL, 6, 0x8F, IBRS_ALL | SSB_NO, {"EIBRS_PBRSB"}),
        (INTEL, 6, 0x8F, PBRSB_NO, {"SPEC_STORE_BYPASS"}),
        *((INTEL, 6, model, None, {"SPEC_STORE_BYPASS"}) for model in (0x7A, 0x86, 0x96, 0x9C)),
        (AMD, 0x17, 0x31, IBRS_ALL, {"SPEC_STORE_BYPASS"}),
        (HYGON, 0x18, 1, IBRS_ALL, {"SPEC_STORE_BYPASS", "NULL_SEG"}),
    ],
)
def test_arch_capabilities_say_which_bugs(
    vendor: str, family: int, model: int, msr: int | None, found: set[str]
) -> None:
    """cpu_set_bug_bits: the MSR counts where CPUID has it."""
    assert features.bugs(host(vendor, family, model, "ARCH_CAPABILITIES"), msr) == found
    assert features.bugs(host(vendor, family, model), msr) == found - {"EIBRS_PBRSB"} | {"SPEC_STORE_BYPASS"}


def test_a_cpuid_without_leaf_1() -> None:
    ebx, edx, ecx = (int.from_bytes(word, "little") for word in (b"Auth", b"enti", b"cAMD"))
    bare = Host(Cpuid({(0, 0): (0, ebx, ecx, edx)}), profile_for("7.2"))
    assert features.synthesized(bare, (7, 2)) == NO_TSA
    assert features.lnx_5(bare) == 3 << 11
    assert features.bugs(bare) == {"NULL_SEG", "SPEC_STORE_BYPASS"}
