"""Sphinx's settings for the docs site: make docs."""

from __future__ import annotations

project = "inspector"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "inspector"
html_show_sphinx = False
html_copy_source = False
#: Links to headings, of any depth, as forges make them.
myst_heading_anchors = 6
