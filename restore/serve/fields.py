"""What a request says: its text fields, read and checked. No pixels, no models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from restore.serve.errors import ApiError

LONGEST = 4000  # characters of a text field
SHOWN = 60  # characters of a wrong value that a message repeats
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


class Fields:
    """Text fields by name, each given any number of times; an empty one counts as absent. Every reader raises ApiError
    400 with the field's name as `param`."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self.values = {name: [v for v in given if v.strip()] for name, given in values.items()}
        self.known: set[str] = set()

    def texts(self, name: str) -> list[str]:
        self.known.add(name)
        found = self.values.get(name, []) + self.values.get(f"{name}[]", [])
        if any(len(text) > LONGEST for text in found):
            raise wrong(name, f"at most {LONGEST} characters", f"{max(map(len, found))}")
        return found

    def text(self, name: str) -> str | None:
        found = self.texts(name)
        if len(found) > 1:
            raise wrong(name, "one value", f"{len(found)}")
        return found[0] if found else None

    def integer(self, name: str, low: int, high: int) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        value = _number(text)
        if value is None or value != math.floor(value) or not low <= value <= high:
            raise wrong(name, f"a whole number from {low} to {high}", text)
        return int(value)

    def number(self, name: str, low: float, high: float) -> float | None:
        text = self.text(name)
        if text is None:
            return None
        value = _number(text)
        if value is None or not low <= value <= high:
            raise wrong(name, f"a number from {low:g} to {high:g}", text)
        return value

    def flag(self, name: str) -> bool:
        text = (self.text(name) or "false").strip().lower()
        if text not in (*TRUE, *FALSE):
            raise wrong(name, "true or false", text)
        return text in TRUE

    def choice(self, name: str, among: Sequence[str]) -> str | None:
        text = self.text(name)
        if text is not None and text not in among:
            raise wrong(name, f"one of {', '.join(among)}", text)
        return text

    def rows(self, name: str, length: int, form: str) -> list[list[int]]:
        """Boxes or points: whole numbers separated by commas."""
        found = []
        for text in self.texts(name):
            numbers = [_number(part) for part in text.strip("[]() ").split(",")]
            if len(numbers) != length or any(v is None or v != math.floor(v) or abs(v) > 2**31 for v in numbers):
                raise wrong(name, f"{form} in whole pixels", text)
            found.append([int(v) for v in numbers if v is not None])
        return found

    def passed_over(self) -> list[str]:
        """Names of fields that nothing here reads: told in the answer rather than refused, so that clients with fields
        of their own work."""
        return sorted(n[:SHOWN] for n in self.values if n.removesuffix("[]") not in self.known)


def wrong(name: str, expected: str, got: Any) -> ApiError:
    """A field whose value cannot be."""
    shown = str(got) if len(str(got)) <= SHOWN else f"{str(got)[:SHOWN]}…"
    return ApiError(400, f"{name}: expected {expected}, got {shown!r}", "invalid_value", name)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
