"""The same fields over all vCPUs side by side. Toolkit-free."""

from __future__ import annotations

from collections import Counter

from inspector.capture.model import Capture
from inspector.decode.fields import Field
from inspector.decode.spec import FieldSpec
from inspector.decode.values import short_hex
from inspector.tui.table import ShownTable


class Comparison:
    """Rows are fields by path, columns are vCPUs; a cell is decoded when it is asked for."""

    def __init__(self, capture: Capture, limit: int = 64) -> None:
        self.vcpus = capture.vcpus[:limit]
        self.left_out = max(0, len(capture.vcpus) - limit)
        self._tables = [[ShownTable(area) for area in vcpu.areas] for vcpu in self.vcpus]
        self._where: list[dict[str, tuple[ShownTable, FieldSpec]]] = []
        self.paths: list[str] = []
        seen: set[str] = set()
        for tables in self._tables:
            where = {spec.path: (table, spec) for table in tables for spec in table.specs if not spec.is_structure}
            self._where.append(where)
            for path in where:
                if path not in seen:
                    seen.add(path)
                    self.paths.append(path)
        self.only_differences = False
        self.filter_text = ""
        self.shown: list[str] = []
        #: How many paths pass the filter, equal or not.
        self.matches = 0
        self._odd: dict[str, frozenset[int]] = {}
        self.refresh()

    def cell(self, path: str, column: int) -> Field | None:
        """The field of one vCPU, or None when it has no such field."""
        found = self._where[column].get(path)
        return found[0].decode(found[1]) if found else None

    def value(self, path: str, column: int) -> tuple[int | None, str] | None:
        """What is compared: the value, or why there is none; None where the vCPU has no such field."""
        cell = self.cell(path, column)
        return (cell.value, cell.text if cell.value is None else "") if cell else None

    def odd(self, path: str) -> frozenset[int]:
        """The vCPUs that differ from what most have; of values that are equally common the first counts."""
        known = self._odd.get(path)
        if known is None:
            values = [self.value(path, column) for column in range(len(self.vcpus))]
            common = Counter(values).most_common(1)[0][0] if values else None
            known = self._odd[path] = frozenset(at for at, value in enumerate(values) if value != common)
        return known

    def differs(self, path: str) -> bool:
        """Whether the vCPUs have different values."""
        return bool(self.odd(path))

    def groups(self, path: str) -> list[tuple[list[int], Field | None]]:
        """The vCPUs by value: what most have first."""
        found: dict[object, list[int]] = {}
        for column in range(len(self.vcpus)):
            found.setdefault(self.value(path, column), []).append(column)
        groups = sorted(found.values(), key=lambda columns: (columns[0] in self.odd(path), columns[0]))
        return [(columns, self.cell(path, columns[0])) for columns in groups]

    def differing_digits(self, path: str) -> frozenset[int]:
        """The hex digits of a field, 0 the first that is written, in which some vCPU differs from most."""
        fields = [field for _, field in self.groups(path) if field is not None and field.value is not None]
        widths = {_digits(field.bits) for field in fields}
        if len(widths) != 1:
            # Vectors of several lengths: no digit of one is a digit of the other.
            return frozenset()
        width = widths.pop()
        words = [f"{field.value:0{width}x}" for field in fields]
        return frozenset(at for at in range(width) if len({word[at] for word in words}) > 1)

    def cell_text(self, path: str, field: Field, width: int) -> str:
        """A value in a width; where it is cut, the digits from the first that differs on."""
        assert field.value is not None
        digits = f"{field.value:0{_digits(field.bits)}x}"
        differing = self.differing_digits(path) if len(digits) + 2 > width else frozenset()
        if not differing:
            return short_hex(field.value, field.bits, width)
        room = width - len("0x……")
        start = max(0, min(min(differing) - 1, len(digits) - room))
        end = "…" if start + room < len(digits) else ""
        return f"0x{'…' if start else ''}{digits[start : start + room]}{end}"

    def refresh(self) -> None:
        """Apply the filter; ``id`` fields come first, for they are what migration asks."""
        wanted = self.filter_text.lower()
        shown = [path for path in self.paths if wanted in path.lower()]
        self.matches = len(shown)
        if self.only_differences:
            shown = [path for path in shown if self.differs(path)]
        self.shown = sorted(shown, key=lambda path: not path.startswith("id."))


def _digits(bits: int) -> int:
    """Hex digits of a width in bits."""
    return -(-bits // 4)
