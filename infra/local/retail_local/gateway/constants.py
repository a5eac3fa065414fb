"""The limits of the gateway, in one place.

Belongs here: numbers that bound memory, disk, time and parallelism. Does not belong here: what is allowed to whom.
"""

from typing import Final

MIB: Final = 1024 * 1024

MAX_RUNNING: Final = 12
"""Statements that run in the engine at once; more of them only compete for the same cores and memory."""
READER_RUNNING: Final = 8
"""How many of these the reader may have, so that dashboards can't keep the loading of data waiting."""
MAX_WAITING: Final = 512
"""Requests that may wait for their turn before the gateway answers "too many simultaneous queries"."""
MAX_STATEMENT_BYTES: Final = 8 * MIB
"""The longest SQL text of a request (without inserted data)."""
MAX_BODY_BYTES: Final = 4096 * MIB
"""The longest request body as it arrives."""
MAX_DECODED_BYTES: Final = 16384 * MIB
"""The longest request body after decompression: a small body must not fill the disk."""
MEMORY_SPOOL_BYTES: Final = 4 * MIB
"""Bodies and results up to this size stay in memory; longer ones go to a file."""
CHUNK_BYTES: Final = 1 * MIB
"""Step of reading, decompressing, inserting and answering."""
INLINE_RESULT_BYTES: Final = 1 * MIB
"""Results up to this size are answered in one piece with a Content-Length."""
SESSION_TIMEOUT_SECONDS: Final = 60
"""How long a session is kept after its last request, unless the client says otherwise."""
MAX_SESSION_TIMEOUT_SECONDS: Final = 3600
MAX_PINNED_SESSIONS: Final = 64
"""Sessions that keep an engine connection because they hold temporary tables or settings."""
STOP_SECONDS: Final = 20
"""How long running requests may finish after the order to stop."""
DISPLAY_NAME: Final = "retail-gateway"
ENGINE_VERSION_UNKNOWN: Final = "unknown"
