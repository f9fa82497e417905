"""Answers that hang on a series that is not merged: --kernel next, and the releases beside it."""

from __future__ import annotations

import errno

import pytest

from inspector.machine.coming import deciding, is_for_want, open_answer
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64.kernels import kernels, profile_for
from layouts.coming import NEXT, Coming
from tests.machine.arm64_worlds import READY, answers, empty

SERIES = Coming(
    "arm64", "a feature", "[PATCH] a feature", ("a register",), "", words=("SMCR_EL1", "ZA"), checks=("KVM has",)
)


def refusal(check: str) -> Outcome:
    rule = Rule("a function")
    rule.check(check, held=False)
    return rule.refuse(errno.EINVAL)


def taken() -> Outcome:
    rule = Rule("a function")
    rule.check("KVM has it", held=True)
    return rule.ok()


def test_only_the_next_kernel_hangs_on_a_series() -> None:
    event = "KVM_SET_ONE_REG SMCR_EL1 0"
    found = deciding(profile_for(NEXT), "arm64", event)
    assert found is not None
    assert found.name == "SME for guests"
    assert deciding(profile_for(NEXT), "arm64", "KVM_SET_ONE_REG TTBR0_EL1 0") is None
    assert all(deciding(kernel, "arm64", event) is None for kernel in kernels().values())


@pytest.mark.parametrize(
    ("refused", "is_so"),
    [
        ("no register ZA", True),
        ("no register ZT0", False),
        (refusal("KVM has SME"), True),
        (refusal("the pointer can be read"), False),
        (refusal("that KVM has SME"), False),
        (taken(), False),
        (Rule("a function").depends("the hardware"), True),
    ],
)
def test_refusals_for_want_of_it(refused: Outcome | str, is_so: bool) -> None:
    assert is_for_want(SERIES, refused) is is_so


def test_the_answer_says_what_the_newest_release_says() -> None:
    kernel = profile_for(NEXT)
    refused = refusal("KVM has SME")
    answer = open_answer(kernel, SERIES, refused)
    assert (answer.verdict, answer.source, answer.evidence) == ("depends-on", SERIES.series, "proposal")
    assert answer.checks[: len(refused.checks)] == refused.checks
    assert answer.because.endswith(f"a feature, not merged; Linux {kernel.name}: EINVAL")
    assert open_answer(kernel, SERIES, None).because.endswith("no such thing")


@pytest.mark.parametrize(
    ("event", "said"), [("KVM_SET_ONE_REG SMCR_EL1 0", "ENOENT"), ("KVM_ARM_VCPU_INIT PSCI_0_2 SME", "no such thing")]
)
def test_what_a_world_answers(event: str, said: str) -> None:
    world = empty("max", kernel=NEXT)
    answers(world, *READY)
    outcome = world.happen(event).outcome
    assert outcome.name == "depends-on"
    assert outcome.because.endswith(f"SME for guests, not merged; Linux {world.kernel.name}: {said}")
