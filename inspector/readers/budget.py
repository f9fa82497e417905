"""How much a reader takes from one file before it stops and says so.

A file decides how many records a reader looks at and keeps, so each reader has a budget for
them. The numbers are ten times what real files hold, and small enough that the work ends within
seconds and fits into 1 GiB of address space. What was read before the end of a budget is kept.
"""

from __future__ import annotations

from inspector.capture.errors import InputError

#: An area larger than this is not held whole: no structure, note or device section comes near.
AREA_LIMIT_BYTES = 16 << 20
#: All areas of a vCPU together: they are made when it is first looked at, where nothing more can be told.
VCPU_LIMIT_BYTES = 64 << 20


class Budget:
    """Records and bytes that a reader may take from a file; ``what`` is what they are."""

    def __init__(self, file: str, what: str, *, records: int, size_bytes: int = 1 << 62) -> None:
        self.file = file
        self.what = what
        self.records = records
        self.size_bytes = size_bytes
        self._records_left = records
        self._bytes_left = size_bytes

    def take(self, offset: int | None, records: int = 1, size_bytes: int = 0) -> None:
        """Count records and their bytes; InputError at ``offset`` when they are more than the budget."""
        self._records_left -= records
        self._bytes_left -= size_bytes
        if self._records_left < 0:
            raise InputError(self.file, f"at most {self.records} {self.what}", "more", offset)
        if self._bytes_left < 0:
            raise InputError(self.file, f"at most {self.size_bytes} bytes of {self.what}", "more", offset)
