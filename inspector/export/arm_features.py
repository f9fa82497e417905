"""Arm's features (FEAT_) of captured ID registers, and one feature: its fields, properties and constraints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any, NamedTuple

from inspector.capture.model import Capture, Vcpu
from inspector.export.kinds import head
from inspector.lint.arm64.features import id_values
from inspector.lint.state import State
from layouts.arm64.arm_constraints import Constraint, constraints, features_known, violated
from layouts.arm64.arm_features import Condition, conditions, feature_named, feature_words

_WIDTH = 110
_SOURCE = "Arm AARCHMRS, Features.json, build 445"


class FeatureView(NamedTuple):
    """What ID registers say: each feature there, absent, or None where the register was not captured."""

    registers: dict[int, int]
    features: dict[str, bool | None]
    violations: tuple[Constraint, ...]


def features_of(capture: Capture, vcpu: Vcpu) -> FeatureView:
    """The features that a captured vCPU shows; none of one without ID registers."""
    registers = id_values(State(capture, vcpu)) if vcpu.arch == "arm64" else {}
    if not registers:
        return FeatureView({}, {}, ())
    return FeatureView(registers, features_known(registers), tuple(violated(registers)))


def _sorted(view: FeatureView, *, there: bool | None) -> list[str]:
    return sorted((name for name, known in view.features.items() if known is there), key=str.lower)


def features_text(name: str, view: FeatureView) -> Iterator[str]:
    """The features that are there, those that nobody can tell, and each broken constraint with its features."""
    yield f"{name}: {len(_sorted(view, there=True))} features of {len(view.features)} are there"
    yield from wrap(" ".join(_sorted(view, there=True)), _WIDTH, initial_indent="  ", subsequent_indent="  ")
    unknown = _sorted(view, there=None)
    if unknown:
        yield f"  not captured: what {len(unknown)} more hang on"
    for one in view.violations:
        yield f"  violated: {one.text}"
        yield "    " + ", ".join(f"{feature} {_word(view, feature)}" for feature in _known(view, one))


def _known(view: FeatureView, one: Constraint) -> list[str]:
    return sorted(name for name in one.root.names() if view.features.get(name) is not None)


def _word(view: FeatureView, name: str) -> str:
    known = view.features.get(name)
    return "not captured" if known is None else "there" if known else "absent"


def features_json(capture: Capture, found: Sequence[tuple[Vcpu, FeatureView]]) -> dict[str, Any]:
    """The answer of ``show --feat --json``."""
    return {
        **head("features"),
        "target": capture.target,
        "source": _SOURCE,
        "vcpus": [
            {
                "index": vcpu.index,
                "name": vcpu.name,
                "features": {name: view.features[name] for name in sorted(view.features, key=str.lower)},
                "violations": [
                    {"constraint": one.text, "features": {name: view.features[name] for name in _known(view, one)}}
                    for one in view.violations
                ],
            }
            for vcpu, view in found
            if view.registers
        ],
    }


def feature_text(name: str) -> Iterator[str]:
    """One feature: which fields show it, as which properties, and what Arm ties it to."""
    feature = feature_named(name) or name
    yield f"{feature}  ({_SOURCE})"
    for one in conditions():
        if one.feature == feature:
            yield from _condition_text(one)
    for value in ("on", "off"):
        try:
            yield f"  {feature}={value}: {' '.join(feature_words(feature, value))}"
        except ValueError as error:
            yield f"  no property: {str(error).partition(': ')[2]}"
            break
    for tied in constraints():
        if feature in tied.root.names():
            yield f"  {tied.text}"


def _condition_text(one: Condition) -> Iterator[str]:
    for terms in one.alternatives:
        words = " and ".join(f"{t.place.register}.{t.place.name} {t.comparison} {t.number}" for t in terms)
        yield f"  shown by {words}" + (f", with {one.guard}" if one.guard else "")
