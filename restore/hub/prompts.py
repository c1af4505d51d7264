"""What models are told: one template a task, from the model's preset or else for its kind.

What is removed or replaced is `{things}` in a sentence ("the cat and the dog"; "the object in the middle of the
picture" where nothing was named) and `{names}` in a list ("cat, dog"); `{subject}` is what shall appear, `{where}` its
place (" next to the man").
"""

from __future__ import annotations

import string
from collections.abc import Mapping

from restore.errors import InputError

TASKS = ("remove", "paint", "replace")
SLOTS = ("things", "names", "subject", "where")
UNWANTED = "object, text, watermark, frame"
SHOWN = {  # to models that are told what shall be seen
    "remove": "empty background, nothing but the surroundings continued, natural photograph",
    "paint": "{subject}{where}",
    "replace": "{subject}",
}
DONE = {"remove": "remove {things}", "paint": "add {subject}{where}", "replace": "replace {things} with {subject}"}
AVOIDED = {"remove": f"{{names}}, {UNWANTED}", "paint": "", "replace": "{names}"}


def check_templates(templates: Mapping[str, str], place: str) -> None:
    """Raises InputError for another task, or a slot that no task fills. place: where they stand, for the message."""
    for task, text in templates.items():
        if task not in TASKS:
            raise InputError(f"expected tasks out of {', '.join(TASKS)} in {place}, got '{task}'")
        if not isinstance(text, str):
            raise InputError(f"expected a text for '{task}' in {place}, got {text!r}")
        try:
            parts = [part for part in string.Formatter().parse(text) if part[1] is not None]
        except ValueError:
            raise InputError(f"expected a text with {{…}} closed for '{task}' in {place}, got {text!r}") from None
        slots = ["".join([slot or "", f":{form}" if form else "", f"!{kind}" if kind else ""])
                 for _, slot, form, kind in parts]  # fmt: skip
        if unknown := [slot for slot in slots if slot not in SLOTS]:
            known = ", ".join(f"{{{slot}}}" for slot in SLOTS)
            raise InputError(f"expected {known} for '{task}' in {place}, got {{{unknown[0]}}}")


def filled(template: str, slots: Mapping[str, str]) -> str:
    """A template with its slots filled; commas around an empty one go with it."""
    text = template.format(**slots)
    return ", ".join(part for part in text.split(", ") if part.strip()).strip()
