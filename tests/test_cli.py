"""The command line as a user meets it: outputs, exit codes, one-line errors, nothing half-written."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from restore.cli import main


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def save(path: Path, array: np.ndarray) -> Path:
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def photo(tmp_path, scene):
    return save(tmp_path / "photo.png", scene)


@pytest.fixture
def mask(tmp_path, hole):
    return save(tmp_path / "mask.png", (hole * 255).astype(np.uint8))


def fails(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    message = result.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in message
    assert "Traceback" not in result.output
    if code != 2 or "Usage:" not in result.stderr:
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_inpaint_writes_a_picture_of_the_same_size_and_exact_background(photo, mask, scene, hole, tmp_path):
    out = tmp_path / "out.png"
    result = run("inpaint", photo, "--mask", mask, "-o", out, "--json", "--passes", 2, "--candidates", 1,
                 "--save-mask", tmp_path / "m.png", "--save-passes", tmp_path / "passes",
                 "--report", tmp_path / "r.html")  # fmt: skip
    assert result.exit_code == 0, result.output
    written = np.asarray(Image.open(out))
    assert written.shape == scene.shape
    assert np.array_equal(written[~hole], scene[~hole])
    assert not np.array_equal(written[hole], scene[hole])
    summary = json.loads(result.stdout)
    names = (
        "output",
        "model",
        "changes",
        "seed",
        "device",
        "mask",
        "presence",
        "passes",
        "stop",
        "seconds",
        "mark",
        "signed",
    )
    assert set(summary) == set(names)
    assert summary["mask"] == {
        "source": "mask", "pixels": 1800, "box": [80, 70, 45, 40],
        "regions": [{"source": "mask", "said": None, "pixels": 1800, "box": [80, 70, 45, 40]}],
    }  # fmt: skip
    fields = {"index", "par_hole", "par_image", "quality", "confidence", "accepted", "seconds", "heard"}
    assert all(set(p) == fields for p in summary["passes"])
    assert summary["stop"] in {"threshold", "budget", "no-gain"}
    assert np.array_equal(np.asarray(Image.open(tmp_path / "m.png")) > 127, hole)
    pictures = sorted(p.name for p in (tmp_path / "passes").iterdir())
    assert pictures == [f"pass-{p['index']:02d}.png" for p in summary["passes"]]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "passes" / pictures[-1])), written)
    assert (tmp_path / "r.html").stat().st_size > 1000


def test_default_output_stands_beside_the_input_and_is_not_overwritten(photo):
    args = ("inpaint", photo, "--box", "80,70,20,20", "--passes", 1, "--candidates", 1)
    assert run(*args).exit_code == 0
    assert photo.with_name("photo.restored.png").exists()
    fails(run(*args), 2, "existing")
    assert run(*args, "--overwrite").exit_code == 0


def bomb(path: Path) -> Path:
    """A PNG header that promises 30,000 × 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    path.write_bytes(data)
    return path


def hostile(kind: str, folder: Path, scene: np.ndarray) -> Path:
    path = folder / f"{kind}.png"
    if kind == "truncated":
        path = folder / "truncated.jpg"
        Image.fromarray(scene).save(path, quality=90)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is not a picture")
    elif kind == "bomb":
        bomb(path)
    elif kind == "tiny":
        save(path, np.zeros((1, 1, 3), np.uint8))
    return path


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "bomb", "tiny", "missing"])
def test_hostile_files_are_one_line_and_exit_2(kind, tmp_path, scene):
    path = hostile(kind, tmp_path, scene)
    before = sorted(tmp_path.iterdir())
    fails(run("inpaint", path, "--box", "0,0,1,1"), 2, "expected")
    assert sorted(tmp_path.iterdir()) == before


def test_wrong_masks_are_one_line_and_exit_2(photo, tmp_path, scene):
    h, w = scene.shape[:2]
    for array, said in (
        (np.full((h, w + 1), 255, np.uint8), "201"),
        (np.zeros((h, w), np.uint8), "expected"),
        (np.full((h, w), 255, np.uint8), "expected"),
    ):
        fails(run("inpaint", photo, "--mask", save(tmp_path / "wrong.png", array)), 2, said)
    fails(run("inpaint", photo, "--mask", tmp_path / "none.png"), 2, "none.png")
    fails(run("inpaint", photo, "--box", "500,500,10,10"), 2, "expected")
    fails(run("inpaint", photo, "--box", "1,2,3"), 2, "X,Y,W,H")


def test_usage_errors(photo, mask):
    fails(run("inpaint", photo), 2, "--prompt")
    fails(run("inpaint", photo, "--find", "txt"), 2, "did you mean 'text'")
    fails(run("inpaint", photo, "--prompt", ""), 2, "expected")
    fails(run("inpaint", photo, "--mask", mask, "--passes", 0), 2, "at least 1")
    fails(run("inpaint", photo, "--mask", mask, "-o", "/nowhere/out.png"), 2, "folder")
    fails(run("inpaint", photo, "--mask", mask, "-o", photo), 2, "existing")
    fails(run("inpaint", photo, "--mask", mask, "-o", photo.with_suffix(".xyz")), 2, "expected")


def test_objects_that_are_not_there_or_unknown_exit_3(photo):
    fails(run("inpaint", photo, "--prompt", "remove the elephant"), 3, "elephant")
    fails(run("segment", photo, "--prompt", "remove the flurbleqix"), 3, "flurbleqix")
    assert not photo.with_name("photo.restored.png").exists()


def test_models_that_are_not_here_exit_4(photo, mask):
    fails(run("inpaint", photo, "--mask", mask, "--model", "no-such-model"), 4, "no-such-model")


def test_refine_and_assess(photo, mask, scene, hole, tmp_path):
    damaged = scene.copy()
    damaged[hole] = np.random.default_rng(0).integers(0, 255, (int(hole.sum()), 3), dtype=np.uint8)
    path = save(tmp_path / "damaged.png", damaged)
    before = json.loads(run("assess", path, "--mask", mask, "--json").stdout)
    result = run("refine", path, "--mask", mask, "-o", tmp_path / "better.png", "--json")
    summary = json.loads(result.stdout)
    assert summary["passes"][0]["index"] == 0
    assert summary["passes"][0]["par_hole"] == pytest.approx(before["par_hole"], abs=0.05)
    after = json.loads(run("assess", tmp_path / "better.png", "--mask", mask, "--json").stdout)
    assert after["par_hole"] < before["par_hole"]
    assert after["quality"] > before["quality"]
    better = np.asarray(Image.open(tmp_path / "better.png"))
    assert np.array_equal(better[~hole], scene[~hole])


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys, time, restore.cli as c\n"
        "try: c.main(['inpaint', '--help'])\n"
        "except SystemExit: pass\n"
        "print(time.process_time())\n"
        "print([m for m in ('torch', 'diffusers', 'numpy', 'cv2', 'scipy', 'jinja2') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    *_, seconds, heavy = out.stdout.strip().splitlines()
    assert heavy == "[]"
    assert float(seconds) < 1  # of processor time, which others on the machine do not take: about 0.1
    assert "restore inpaint photo.jpg" in out.stdout


def _wait_for_handler(process: subprocess.Popen[str]) -> None:
    """Until Python catches the signal: before that it dies of it like any process. Linux tells; elsewhere a guess."""
    status, deadline = Path(f"/proc/{process.pid}/status"), time.monotonic() + 60
    bit = 1 << (signal.SIGINT - 1)
    while status.exists() and not int(re.search(r"SigCgt:\s*(\w+)", status.read_text())[1], 16) & bit:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def _heard():
    """A background shell has its children ignore SIGINT, and they theirs; a handler here makes it the default there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heard")
@pytest.mark.parametrize("after", [0.25, 3])
def test_interrupting_exits_130_and_leaves_nothing(tmp_path, after):
    """Ctrl-C while libraries load and while the engine works, as far as the machine's speed lets one choose."""
    scene = np.random.default_rng(0).integers(0, 255, (600, 800, 3), dtype=np.uint8)
    photo = save(tmp_path / "photo.png", scene)
    command = [sys.executable, "-m", "restore", "inpaint", str(photo), "--box", "200,200,300,200", "--passes", "50",
               "--par", "0", "--candidates", "6"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        _wait_for_handler(process)
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert stderr.strip().splitlines()[-1].startswith("restore: interrupted")
    assert "Traceback" not in stderr
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]
