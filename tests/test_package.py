"""The built wheel holds everything, weights match their manifest, and imports stay cheap."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import grimp
import pytest

from restore.errors import ModelUnavailableError
from restore.weights.store import FOLDER, LIMIT, load_weights, manifest, verified

ROOT = Path(__file__).parents[1]
LINKS = ("pipelines", "quality", "training", "configs")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    script = (
        "import shutil, sys; from pathlib import Path\n"
        "root, work, out = map(Path, sys.argv[1:])\n"
        "skip = shutil.ignore_patterns('.git', 'build', '*.egg-info', 'runs', '.venv', '.*_cache')\n"
        "shutil.copytree(root, work, symlinks=True, ignore=skip)\n"
        "import os; os.chdir(work)\n"
        "from setuptools import build_meta; build_meta.build_wheel(str(out))"
    )
    subprocess.run([sys.executable, "-c", script, ROOT, out / "src", out], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_is_complete_and_small(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {"restore": ROOT / "restore"} | {f"restore/{x}": ROOT / x for x in LINKS}
    for target, folder in sources.items():
        for path in folder.rglob("*"):
            inside = path.relative_to(folder)
            if (
                path.suffix in (".py", ".yaml", ".html", ".json", ".safetensors", ".gz")
                and "__pycache__" not in path.parts
                and not (target == "restore" and inside.parts[0] in LINKS)
            ):
                assert f"{target}/{inside.as_posix()}" in names
    assert not any(name.startswith((*(f"{link}/" for link in LINKS), "tests/")) for name in names)
    assert wheel.stat().st_size < 100e6


def test_every_shipped_weight_matches_the_manifest():
    files = {p.stem for p in FOLDER.glob("*.safetensors")}
    assert files == set(manifest())
    for name, entry in manifest().items():
        assert verified(name).stat().st_size == entry["bytes"]
        assert sum(t.numel() for t in load_weights(name).values()) == entry["parameters"]
        assert entry["licence"]
        assert entry["architecture"]
    assert sum(e["bytes"] for e in manifest().values()) <= LIMIT


def test_damaged_weights_are_refused(monkeypatch, tmp_path):
    from restore.weights import store

    name = "judge"
    data = bytearray((FOLDER / f"{name}.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / f"{name}.safetensors").write_bytes(data)
    manifest()
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    store.verified.cache_clear()
    try:
        with pytest.raises(ModelUnavailableError, match="sha256"):
            verified(name)
        with pytest.raises(ModelUnavailableError, match="no such file"):
            verified("unknown")
    finally:
        store.verified.cache_clear()


def test_importing_the_package_and_its_errors_is_cheap():
    code = "import sys, restore; restore.InputError; print('torch' in sys.modules or 'numpy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_the_builtin_path_does_not_import_hub_libraries():
    hubs = ("diffusers", "transformers", "accelerate", "sklearn")
    code = f"import sys, restore.api; print([m for m in {hubs} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_rooms_import_what_contributing_says():
    """Its table against the sources; who may stand above whom is import-linter's."""
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Rules")[0]
    rows = re.findall(r"^\| `(?:restore/)?(\w+)/` \|.*\| ?(.*?) ?\|$", table, re.M)
    allowed = {room: {name for name in re.split(r",\s*", cell) if name} for room, cell in rows}
    graph = grimp.build_graph("restore")
    for room in sorted(
        p.name for p in (ROOT / "restore").iterdir() if p.is_dir() and p.name not in ("__pycache__", "configs")
    ):
        modules = {f"restore.{room}"} | graph.find_descendants(f"restore.{room}")
        found = {i.split(".")[1] for m in modules for i in graph.find_modules_directly_imported_by(m) if "." in i}
        if "everything" not in allowed[room]:
            assert found - {room, "images", "settings", "errors"} <= allowed[room], room
