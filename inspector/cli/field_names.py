"""What a mistyped path of a field was meant to be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inspector.capture.errors import InspectorError
from inspector.capture.model import Capture, Vcpu
from inspector.capture.nearest import did_you_mean
from inspector.decode.fields import FieldTable


def field_hint(path: str, capture: Capture, vcpus: Iterable[Vcpu]) -> str:
    """The paths most like one, and the command that lists them all; a path without its area counts too."""
    areas = [*(area for vcpu in vcpus for area in vcpu.areas), *capture.context]
    paths = dict.fromkeys(spec.path for area in areas for spec in FieldTable(area).specs if not spec.is_structure)
    return did_you_mean(path.strip("*"), paths, f"inspector show {capture.target}")


def no_field(patterns: Sequence[str], capture: Capture, vcpus: Sequence[Vcpu]) -> InspectorError:
    """That no field matches any of the patterns, and what they were meant to be."""
    hints = "; ".join(field_hint(pattern, capture, vcpus) for pattern in patterns)
    return InspectorError(f"{capture.target}: no field matches {' or '.join(patterns)}; {hints}")
