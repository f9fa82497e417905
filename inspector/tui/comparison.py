"""The same fields over all vCPUs side by side. Toolkit-free."""

from __future__ import annotations

from inspector.capture.model import Capture
from inspector.decode.fields import Field
from inspector.decode.spec import FieldSpec
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
        self._differs: dict[str, bool] = {}
        self.refresh()

    def cell(self, path: str, column: int) -> Field | None:
        """The field of one vCPU, or None when it has no such field."""
        found = self._where[column].get(path)
        return found[0].decode(found[1]) if found else None

    def differs(self, path: str) -> bool:
        """Whether the vCPUs have different values."""
        known = self._differs.get(path)
        if known is None:
            cells = [self.cell(path, column) for column in range(len(self.vcpus))]
            values = {(cell.value, cell.text if cell.value is None else "") if cell else None for cell in cells}
            known = self._differs[path] = len(values) > 1
        return known

    def refresh(self) -> None:
        """Apply the filter; ``id`` fields come first, for they are what migration asks."""
        wanted = self.filter_text.lower()
        shown = [path for path in self.paths if wanted in path.lower()]
        self.matches = len(shown)
        if self.only_differences:
            shown = [path for path in shown if self.differs(path)]
        self.shown = sorted(shown, key=lambda path: not path.startswith("id."))
