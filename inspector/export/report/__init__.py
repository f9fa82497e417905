"""One file for a bug tracker (docs/report.md): what a capture is, what was found, the fields that matter, the capture.

``redact.py`` leaves out what a report should not carry; ``case.py`` gathers what it says; ``page.py`` and ``fields.py``
write it as HTML, ``markdown.py`` as the text of an issue. ``inspector.readers.report`` opens the page again.
"""
