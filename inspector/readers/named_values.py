"""Values that text names: an area whose fields are the paths that the names have everywhere.

Every reader of printed registers ends here. Such an area has no place in a file.
"""

from __future__ import annotations

from inspector.capture.model import Area, Origin

#: A value and its size in bytes.
Sized = tuple[int, int]


def named_area(values: dict[str, Sized], file: str, title: str) -> Area:
    """An area of values by path, in this order."""
    rows = [[path, _kind(path, size), size] for path, (_, size) in values.items()]
    data = b"".join((value % (1 << 8 * size)).to_bytes(size, "little") for value, size in values.values())
    attributes = {"synthesized": True, "named": rows}
    return Area("named-values", "registers", title, data, Origin(file, 0), attributes=attributes)


def _kind(path: str, size: int) -> str:
    if path.startswith(("xsave.st[", "fpr[")):
        return "x87"
    if path.startswith(("sve.p[", "sve.ffr")):
        return "predicate"
    return "vector" if size >= 16 else "uint"
