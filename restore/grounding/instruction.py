"""Instructions: `parse` words into an `Instruction`, `select` the instances that it means."""

from __future__ import annotations

from restore.grounding.grammar import parse, parse_shown
from restore.grounding.meaning import Describe, Instruction, Overlay, Relation, Selector
from restore.grounding.selection import Extent, select

__all__ = [
    "Describe",
    "Extent",
    "Instruction",
    "Overlay",
    "Relation",
    "Selector",
    "parse",
    "parse_shown",
    "select",
]  # fmt: skip
