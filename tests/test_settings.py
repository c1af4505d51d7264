"""Settings: every wrong value is one line that says what was expected."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from restore.edit.choose import settings_for
from restore.errors import InputError
from restore.settings import Settings, load_settings


def test_the_shipped_preset_is_the_default():
    path = Path(__file__).parents[1] / "configs" / "builtin.yaml"
    assert Settings(**load_settings(path)) == Settings()
    assert settings_for(path) == Settings()
    assert all(f.name in path.read_text() for f in fields(Settings))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pases: 3", "did you mean 'passes'"),
        ("passes: 0", "at least 1"),
        ("passes: three", "whole number"),
        ("par: 2", "between 0 and 1"),
        ("device: gpu", "auto, cpu"),
        ("- 1", "key: value"),
        ("a: [", "YAML"),
        ("seed: -1", "at least 0"),
        ("model: 3", "a name"),
        ("offline: maybe", "true or false"),
        ("model: sd15-inpaint\nquantize: 2bit", "8bit or 4bit"),
        ("model: sd15-inpaint\ntransformer: 3", "a file"),
        ("quantize: 4bit", "a --model for --quantize"),
        ("transformer: flux.gguf", "a --model for --transformer"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(tmp_path, text, said):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        load_settings(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="readable"):
        load_settings(tmp_path / "none.yaml")


def test_updated_ignores_what_is_not_given():
    assert Settings(seed=4).updated(seed=None, passes=2) == Settings(seed=4, passes=2)
