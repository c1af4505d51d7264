"""What is asked is checked once, before anything heavy is imported, and by looking only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image

from restore.cli import main
from restore.edit.choose import models_for
from restore.edit.request import to_inpaint, to_refine
from restore.errors import InputError
from restore.images.photo import photo_from_array
from restore.settings import Settings

PHOTO = photo_from_array(make_scene(48, 64))


def test_checks_import_nothing_heavy(tmp_path: Path) -> None:
    Image.fromarray(make_scene(48, 64)).save(tmp_path / "photo.png")
    code = (
        "import sys\nfrom restore.cli import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "print([m for m in ('torch', 'diffusers', 'transformers', 'scipy', 'jinja2') if m in sys.modules])"
    )
    for wrong in (["--box", "500,0,9,9"], ["--prompt", "add a hat", "--box", "1,1,9,9"], ["--prompt", "add a zzz"],
                  ["--point", "9,9", "--model", "instruct"]):  # fmt: skip
        command = [sys.executable, "-c", code, "inpaint", str(tmp_path / "photo.png"), *wrong]
        found = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        assert found.stdout == "[]\n", found.stderr
        assert "restore: " in found.stderr


def test_a_repaint_looks_at_its_words_mask_and_models_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(make_scene(48, 64)).save(tmp_path / "photo.png")
    hole = np.zeros((48, 64), bool)
    hole[20:30, 20:30] = True
    Image.fromarray(hole).save(tmp_path / "mask.png")
    calls: list[str] = []

    def counted(place: str) -> None:
        module, name = place.rsplit(".", 1)
        real = getattr(sys.modules[module], name)

        def call(*args: Any, **options: Any) -> Any:
            calls.append(name)
            return real(*args, **options)

        monkeypatch.setattr(place, call)

    for place in ("restore.edit.request.parse", "restore.images.mask.load_mask", "restore.edit.choose.models_for"):
        counted(place)
    arguments = ["inpaint", str(tmp_path / "photo.png"), "--mask", str(tmp_path / "mask.png"), "--prompt", "add a ball",
                 "--passes", "1", "--candidates", "1"]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert sorted(calls) == ["load_mask", "models_for", "parse"]


def test_looking_for_models_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    before = dict(os.environ)
    assert models_for(Settings(offline=True)).painter is None
    assert dict(os.environ) == before


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="got none"):
        to_inpaint("builtin", PHOTO)
    with pytest.raises(InputError, match="at most one of"):
        to_inpaint("builtin", PHOTO, box=(1, 1, 9, 9), point=(3, 3))
    for asked in ({"point": (3, 3)}, {"box": (1, 1, 9, 9)}):
        with pytest.raises(InputError, match="told by words"):
            to_inpaint("instruct", PHOTO, **asked)
    with pytest.raises(InputError, match="fills from the surroundings"):
        to_inpaint("instruct", PHOTO, "add a dog")
    with pytest.raises(InputError, match="at least 8×8"):
        to_inpaint("builtin", photo_from_array(np.zeros((7, 9, 3), np.uint8)), box=(1, 1, 2, 2))
    with pytest.raises(InputError, match="photo's size"):
        to_refine(PHOTO, np.ones((9, 9), bool))
