"""Words of arm64 events: features, capabilities, vector lengths, registers and values, and what is none."""

from __future__ import annotations

import pytest

from inspector.machine.arm64.host import PSCI_0_2, PTRAUTH, SVE
from inspector.machine.arm64.world import words
from layouts.arm64.ids import PSCI_VERSION, SVE_FFR, SVE_VLS, SVE_Z0, X0
from tests.machine.arm64_bounds import rid


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("", 0),
        ("PSCI_0_2 SVE", PSCI_0_2 | SVE),
        ("KVM_ARM_VCPU_PSCI_0_2", PSCI_0_2),
        ("PTRAUTH", PTRAUTH),
        ("bit0 bit4", 0b10001),
        ("bit223", 1 << 223),
        ("bit224", None),
        ("bit", None),
        ("bitx1", None),
        ("PSCI_0_2_KVM_ARM_VCPU_", None),
    ],
)
def test_features(text: str, bits: int | None) -> None:
    """struct kvm_vcpu_init has seven words of 32 bits."""
    if bits is not None:
        assert words.feature_bits(text.split()) == bits
    else:
        with pytest.raises(ValueError, match=f"no vCPU feature {text}"):
            words.feature_bits(text.split())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("ARM_MTE", 205),
        ("MTE", 205),
        ("KVM_CAP_ARM_MTE", 205),
        ("205", 205),
        ("7", 7),
        ("0xf0", 240),
        ("MTE_KVM_CAP_", None),
        ("4x", None),
        ("X86_DISABLE_EXITS", None),
    ],
)
def test_capabilities(text: str, number: int | None) -> None:
    if number is not None:
        assert words.capability(text) == number
    else:
        with pytest.raises(ValueError, match=text):
            words.capability(text)


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("", 0),
        ("16", 1),
        ("16 32 64", 0b1011),
        ("0x3 64", 0b1011),
        ("0x1 0x2 16", 0b11),
        ("8192", 1 << 511),
        (f"{(1 << 512) - 1:#x}", (1 << 512) - 1),
    ],
)
def test_vector_lengths(text: str, bits: int) -> None:
    assert words.vector_lengths(text.split()) == bits


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0", "0 is no vector length: multiples of 16 bytes up to 8192"),
        ("17", "17 is no vector length"),
        ("8208", "8208 is no vector length"),
        ("160000000000000", "160000000000000 is no vector length"),
        ("x", "x is not a number of 64 bits"),
        (f"{1 << 512:#x}", "is not a number of 64 bytes"),
    ],
)
def test_what_is_no_vector_length(text: str, why: str) -> None:
    """KVM_REG_ARM64_SVE_VLS has 512 bits: what has no bit there cannot be asked for."""
    with pytest.raises(ValueError, match=why):
        words.vector_lengths(text.split())


@pytest.mark.parametrize(
    ("register_id", "name"),
    [
        (X0, "x0"),
        (SVE_FFR, "ffr"),
        (SVE_VLS, "sve_vls"),
        (SVE_Z0, "z0"),
        (SVE_Z0 + 1, "sve.z[0].slice[1]"),
        (PSCI_VERSION, "psci_version"),
        (rid("TTBR0_EL1"), "TTBR0_EL1"),
        (0x6030_0000_0010_0001, "reg.0x6030000000100001"),
    ],
)
def test_short_names(register_id: int, name: str) -> None:
    assert words.name_of(register_id) == name


@pytest.mark.parametrize(
    ("text", "size", "value"),
    [
        ("0", 1, b"\0"),
        ("255", 1, b"\xff"),
        ("0x1234", 8, b"\x34\x12".ljust(8, b"\0")),
        ("aa..", 3, b"\xaa" * 3),
        ("0102..", 3, b"\1\2\1"),
        ("010203..", 2, b"\1\2"),
    ],
)
def test_values(text: str, size: int, value: bytes) -> None:
    assert words.value_bytes(text, size) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("256", "256 is not a number of 1 bytes"),
        ("-1", "-1 is not a number of 1 bytes"),
        ("x", "x is not a number of 1 bytes"),
        ("..", "bytes in hex go before the two dots"),
    ],
)
def test_what_is_no_value(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        words.value_bytes(text, 1)
