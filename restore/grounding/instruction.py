"""Instructions: `parse` words into an `Instruction`, `select` the instances that it means."""

from __future__ import annotations

from restore.grounding.grammar import Instruction, Relation, Selector, parse
from restore.grounding.selection import Candidate, select

__all__ = ["Candidate", "Instruction", "Relation", "Selector", "parse", "select"]
