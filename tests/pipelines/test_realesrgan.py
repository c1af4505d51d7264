"""Real-ESRGAN from a package's ncnn files: what is read is what was written, windows, and plain refusals."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from restore.api import _engine
from restore.cli import main
from restore.errors import ModelUnavailableError
from restore.pipelines.networks.rrdb import RRDBNet
from restore.pipelines.restoration.realesrgan import FILE, HALF, PACKAGE, convolutions, enlarged, load_realesrgan


def network(*size):
    torch.manual_seed(0)
    net = RRDBNet(*size).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(p.half().float())  # what float16 holds
    return net


def written(net, stem):
    """The files that ncnn has of such a network, in float16."""
    lines, data = ["7767517", "0 0", "Input input 0 1 data"], b""
    for m in net.modules():
        if isinstance(m, torch.nn.Conv2d):
            lines.append(f"Convolution c 1 1 a b 0={m.out_channels} 1=3 4=1 5=1 6={m.weight.numel()} -23310=1,2.0e-01")
            weights = m.weight.detach().numpy().astype(np.float16).tobytes()
            data += HALF.to_bytes(4, "little") + weights + b"\0" * (-len(weights) % 4)
            data += m.bias.detach().numpy().astype(np.float32).tobytes()
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".param").write_text("\n".join(lines))
    stem.with_suffix(".bin").write_bytes(data)
    return data


@torch.inference_mode()
def test_what_is_read_computes_what_was_written(tmp_path):
    net, other = network(6, 3, 1), RRDBNet(6, 3, 1).eval()
    written(net, tmp_path / "model")
    other.load(convolutions(tmp_path / "model.param", tmp_path / "model.bin"))
    x = torch.rand(1, 3, 12, 9, generator=torch.Generator().manual_seed(1))
    assert net(x).shape == (1, 3, 48, 36)
    assert torch.equal(net(x), other(x))


@torch.inference_mode()
def test_windows_and_factors(monkeypatch):
    net = network(6, 3, 1)
    y = torch.rand(1, 3, 90, 70, generator=torch.Generator().manual_seed(1)) * 2 - 1
    whole = enlarged(net, y, 4)
    monkeypatch.setattr("restore.pipelines.restoration.realesrgan.WINDOW", 64)
    assert torch.allclose(enlarged(net, y, 4), whole, atol=1e-4)
    assert torch.allclose(enlarged(net, y, 2), torch.nn.functional.avg_pool2d(enlarged(net, y, 4), 2), atol=1e-5)


def package(tmp_path, monkeypatch):
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('must not be run')")
    monkeypatch.syspath_prepend(tmp_path)
    return folder / FILE


def test_a_package_with_another_model_is_refused_and_never_run(tmp_path, monkeypatch):
    data = written(network(6, 3, 1), stem := package(tmp_path, monkeypatch))
    with pytest.raises(ModelUnavailableError, match=r"expected a convolution of \(64, 3, 3, 3\)"):
        load_realesrgan(torch.device("cpu"))
    stem.with_suffix(".bin").write_bytes(data[:-3])
    with pytest.raises(ModelUnavailableError, match="install the package again"):
        load_realesrgan(torch.device("cpu"))
    assert PACKAGE not in sys.modules


def test_the_command_enlarges_and_says_that_detail_is_invented(tmp_path, monkeypatch):
    written(network(), package(tmp_path, monkeypatch))
    Image.new("RGB", (12, 9), (200, 30, 30)).save(tmp_path / "small.png")
    command = ["enhance", str(tmp_path / "small.png"), "--task", "super-resolution", "--scale", "2"]
    result = CliRunner().invoke(main, [*command, "--model", "realesrgan", "--json"])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["invented"], summary["model"], summary["size"]) == (True, "realesrgan", [24, 18])
    with Image.open(tmp_path / "small.restored.png") as large:
        assert large.size == (24, 18)


def test_the_command_needs_the_package_and_super_resolution(tmp_path, monkeypatch):
    Image.new("RGB", (24, 16), (200, 30, 30)).save(tmp_path / "small.png")
    monkeypatch.setattr("restore.pipelines.restoration.realesrgan.PACKAGE", "no_such_package_here")
    _engine.cache_clear()  # the command's engine keeps the models it opened

    def run(*options):
        return CliRunner().invoke(main, ["enhance", str(tmp_path / "small.png"), "--model", "realesrgan", *options])

    missing = run("--task", "super-resolution")
    assert (missing.exit_code, "pip install 'restore[realesrgan]'" in str(missing.output)) == (4, True)
    other = run("--task", "denoise", "--noise", "5")
    assert (other.exit_code, "expected super-resolution by 2 to 4" in str(other.output)) == (2, True)
    assert list(tmp_path.iterdir()) == [tmp_path / "small.png"]
