"""The examples of docs/embedding.md run as they stand; docs/api.md is what the docstrings say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

import restore
from scripts.api_page import page

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/embedding.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(<!-- not run.*?-->\n)?```python\n(.*?)```", TEXT, re.DOTALL)
RUN = [code for not_run, code in BLOCKS if not not_run]


def test_all_examples_are_known() -> None:
    assert len(RUN) == 8
    assert len(BLOCKS) - len(RUN) == 1
    for _, code in BLOCKS:
        compile(code, "docs/embedding.md", "exec")


@pytest.mark.parametrize("number", range(len(RUN)))
def test_the_example_runs(number: int, scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(scene).save(tmp_path / "photo.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    exec(compile(RUN[number], f"docs/embedding.md, example {number + 1}", "exec"), {"__name__": "example"})


def test_the_api_page_is_that_of_the_docstrings() -> None:
    assert (ROOT / "docs/api.md").read_text(encoding="utf-8") == page(), "run python -m scripts.api_page"
    for name in restore.__all__:
        assert f"\n## {name}\n" in page()
        assert getattr(restore, name).__doc__
