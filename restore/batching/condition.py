"""Which results are kept: `--keep-if "par_hole < 0.1 and quality > 50"`."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from restore.errors import InputError

_COMPARED = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_PART = re.compile(r"\s*([a-z_]+)\s*(<=|>=|<|>)\s*([-+]?[0-9.]+)\s*")


@dataclass(frozen=True)
class Condition:
    """Comparisons of measures with limits, all of which have to hold."""

    parts: tuple[tuple[str, str, float], ...] = ()

    def holds(self, record: Mapping[str, Any]) -> bool:
        """Whether a result meets it; what was not measured does not."""
        return all(
            isinstance(record.get(name), (int, float)) and _COMPARED[sign](record[name], limit)
            for name, sign, limit in self.parts
        )


def read_condition(text: str | None, measures: tuple[str, ...]) -> Condition:
    """The condition that `text` says of some of the `measures`; None: none. Raises InputError."""
    if text is None:
        return Condition()
    found = []
    for part in re.split(r"\band\b|,", text):
        match = _PART.fullmatch(part)
        if match is None or match[3].count(".") > 1 or not re.search(r"\d", match[3]):
            raise InputError(f"expected a condition such as 'par_image < 0.1 and quality > 50', got '{text}'")
        if match[1] not in measures:
            raise InputError(f"expected a condition on one of {', '.join(measures)}, got '{match[1]}'")
        found.append((match[1], match[2], float(match[3])))
    return Condition(tuple(found))
