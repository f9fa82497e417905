"""By what a store of ``inspector fleet`` is known: an SQLite file with an application id of its own.

Source: SQLite's file format, section 1.3, the database header.
"""

from __future__ import annotations

#: What is opened where no file is named.
DEFAULT_STORE = "fleet.db"
#: PRAGMA application_id.
APPLICATION_ID = 0x666C6565
#: PRAGMA user_version of a store of ours. A number grows with a change that older programs would misread.
VERSION = 1
#: Bytes by offset: SQLite's magic, the application id (big-endian).
MARKS = ((0, b"SQLite format 3\0"), (68, APPLICATION_ID.to_bytes(4, "big")))
HEADER_SIZE_BYTES = 100
