"""Write docs/kernels.md from the tables."""

from __future__ import annotations

from pathlib import Path

from inspector.export.kernel_changes import page

if __name__ == "__main__":
    (Path(__file__).parent / "kernels.md").write_text(page(), "utf-8")
