"""200 sentences × what they mean: how many are read right, refused wrongly, or misread in silence.

Example:
  python -m benchmarks.sentences

Prints a line for every sentence that is not read as sentences.yaml expects, and a table. A sentence is read by the
grammar and then by the embedded grounder's vocabulary; no photo is looked at. Exit status 1 if one is misread.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import yaml

from restore.errors import RestoreError
from restore.grounding.finder import read_phrase
from restore.grounding.instruction import Instruction, parse

SENTENCES = Path(__file__).with_suffix(".yaml")


def notation(instruction: Instruction) -> str:
    """All that an instruction says, in one line: "remove 2 (red) car @left near [house] & remove dog"."""
    said: list[str] = [instruction.action, _thing(instruction)]
    if instruction.subject is not None:
        said.append(f"→ {instruction.subject}")
    return " ".join(said) + "".join(f" & {instruction.action} {_thing(other)}" for other in instruction.also)


def _thing(thing: Instruction) -> str:
    said = [str(thing.count or "all")] if thing.quantity == "all" else []
    said += [f"({' '.join(thing.modifiers)})"] if thing.modifiers else []
    said.append(thing.object)
    said += [f"<{'+'.join(thing.overlay.kinds)}>"] if thing.overlay else []
    if thing.selector is not None:
        said += [f"@{'+'.join(thing.selector.where)}"] if thing.selector.where else []
        said += [f"order {thing.selector.order}"] if thing.selector.order else []
        said += [f"#{thing.selector.rank}"] if thing.selector.rank != 1 else []
    if thing.relation is not None:
        said.append(f"{thing.relation.kind} [{_thing(thing.relation.target)}]")
    return " ".join(said)


def read(sentence: str) -> str:
    """The notation of what is understood; of a refusal "! " and its message."""
    try:
        instruction = parse(sentence)
        for thing in instruction.things:
            if thing.overlay is None and instruction.action != "add":
                read_phrase(thing.phrase)
            if thing.relation is not None:
                read_phrase(thing.relation.target.phrase)
    except RestoreError as error:
        return f"! {error}"
    return notation(instruction)


def verdict(got: str, expected: str) -> str:
    """ "right", "refused" (it was expected to be understood), or "misread": understood as something else."""
    if got.startswith("! "):
        if not expected.startswith("! "):
            return "refused"
        return "right" if expected[2:] in got else "refused otherwise"
    return "right" if got == expected else "misread"


def main() -> None:
    sentences: dict[str, str] = yaml.safe_load(SENTENCES.read_text())
    counts: Counter[str] = Counter()
    for sentence, expected in sentences.items():
        got = read(sentence)
        counts[verdict(got, expected)] += 1
        if verdict(got, expected) != "right":
            print(f"{verdict(got, expected)}: {sentence!r}\n  expected {expected}\n  got      {got}")
    print("| " + " | ".join(["sentences", *counts]) + " |\n|" + "---|" * (1 + len(counts)))
    print("| " + " | ".join(map(str, [len(sentences), *counts.values()])) + " |")
    sys.exit(1 if counts["misread"] else 0)


if __name__ == "__main__":
    main()
