"""Tiny randomly initialised pipelines of every class of diffusers that fills or edits, by the class's name.

Built by our own code, with our own vocabularies: nothing is fetched. Processors that need torchvision are stood in for
by ones that read the words and not the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo import counting, editors, flux, unets
from zoo.painters import PAINTERS

BUILDERS: dict[str, Callable[[Path], Any]] = {
    **unets.BUILDERS,
    **flux.BUILDERS,
    **editors.BUILDERS,
    **counting.BUILDERS,
}
__all__ = ["BUILDERS", "PAINTERS"]
