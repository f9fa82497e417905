"""The fields of an area for a screen: what our decoder fails on is shown as such, and ends nothing."""

from __future__ import annotations

from inspector.capture.errors import visible
from inspector.capture.model import Area
from inspector.decode.fields import Field, FieldTable, children
from inspector.decode.plans import specs_of
from inspector.decode.spec import FieldSpec


def trouble(error: Exception) -> str:
    """What a field says that cannot be decoded."""
    return visible(f"cannot be decoded, a bug of ours: {type(error).__name__}: {error}")


class ShownTable(FieldTable):
    """A table whose every answer can be painted. Decoders check what they read; a check that is missing is our bug."""

    def __init__(self, area: Area) -> None:
        self._trouble = ""
        try:
            super().__init__(area)
            self._specs = specs_of(area)
        except Exception as error:  # noqa: BLE001 - shown in the area's rows
            self._trouble = trouble(error)
            super().__init__(Area("raw", area.prefix, area.title, area.data, area.origin))
            self._specs = specs_of(self.area)
            self.area = area

    def decode(self, spec: FieldSpec) -> Field:
        """See FieldTable."""
        try:
            field = super().decode(spec)
        except Exception as error:  # noqa: BLE001 - shown in the field's row
            return Field(spec, self.area, None, None, trouble(error), "", changed=False)
        return field._replace(text=self._trouble) if self._trouble else field

    def find(self, pattern: str) -> list[FieldSpec]:
        """See FieldTable."""
        try:
            return super().find(pattern)
        except Exception:  # noqa: BLE001 - the parts of some field cannot be told
            return [spec for spec in self.specs if spec.path == pattern]

    def parts(self, spec: FieldSpec, want: str) -> list[FieldSpec]:
        """The bits or elements below a field; none where they cannot be told."""
        try:
            return children(spec, want)
        except Exception:  # noqa: BLE001 - shown folded
            return []
