"""How much of a photo is in memory at once. Read as `limits.NAME`, so that one place sets them."""

from __future__ import annotations

HUGE = 100_000_000  # pixels above which a TIFF is not decoded whole
MAX_PIXELS = 178_000_000  # where Pillow itself refuses; its softer warning at half of that is silenced
OVERVIEW_SIDE = 3072  # long side of the picture in which words and clicks are looked up
BAND = 8_000_000  # pixels read at a time where the whole photo is read
BATCH = 16_000_000  # bytes of samples decoded at a time
