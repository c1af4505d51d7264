"""Guided-diffusion checkpoints, against that layout's forward pass written here on the checkpoint's own keys."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from restore.cli import main
from restore.errors import ModelUnavailableError
from restore.pipelines.hub.guided_diffusion import convert, converted, layout_of
from restore.pipelines.hub.prior import DiffusersPrior

WIDTHS, LAYERS, HEAD, EMB = (32, 64), 1, 16, 128
Weights = dict[str, torch.Tensor]


class Maker:
    """Random weights of the layout: two levels, attention at the second, six output channels."""

    def __init__(self, residual: bool = True, scale_shift: bool = True) -> None:
        self.weights: Weights = {}
        self.generator = torch.Generator().manual_seed(0)
        self.residual, self.scale_shift = residual, scale_shift

    def conv(self, key: str, out: int, width: int, *kernel: int) -> None:
        fan = width * math.prod(kernel)
        self.weights[key + ".weight"] = torch.randn(out, width, *kernel, generator=self.generator) / fan**0.5
        self.weights[key + ".bias"] = 0.1 * torch.randn(out, generator=self.generator)

    def norm(self, key: str, width: int) -> None:
        self.weights[key + ".weight"] = 1 + 0.1 * torch.randn(width, generator=self.generator)
        self.weights[key + ".bias"] = 0.1 * torch.randn(width, generator=self.generator)

    def res(self, key: str, width: int, out: int) -> None:
        self.norm(key + ".in_layers.0", width)
        self.conv(key + ".in_layers.2", out, width, 3, 3)
        self.conv(key + ".emb_layers.1", out * (2 if self.scale_shift else 1), EMB)
        self.norm(key + ".out_layers.0", out)
        self.conv(key + ".out_layers.3", out, out, 3, 3)
        if width != out:
            self.conv(key + ".skip_connection", out, width, 1, 1)

    def attention(self, key: str, width: int) -> None:
        self.norm(key + ".norm", width)
        self.conv(key + ".qkv", 3 * width, width, 1)
        self.conv(key + ".proj_out", width, width, 1)

    def resample(self, key: str, name: str, width: int) -> None:
        if self.residual:
            self.res(key, width, width)
        else:
            self.conv(f"{key}.{name}", width, width, 3, 3)

    def __call__(self) -> Weights:
        a, b = WIDTHS
        self.conv("time_embed.0", EMB, a)
        self.conv("time_embed.2", EMB, EMB)
        self.conv("input_blocks.0.0", a, 3, 3, 3)
        self.res("input_blocks.1.0", a, a)
        self.resample("input_blocks.2.0", "op", a)
        self.res("input_blocks.3.0", a, b)
        self.attention("input_blocks.3.1", b)
        self.res("middle_block.0", b, b)
        self.attention("middle_block.1", b)
        self.res("middle_block.2", b, b)
        self.res("output_blocks.0.0", b + b, b)
        self.attention("output_blocks.0.1", b)
        self.res("output_blocks.1.0", b + a, b)
        self.attention("output_blocks.1.1", b)
        self.resample("output_blocks.1.2", "conv", b)
        self.res("output_blocks.2.0", b + a, a)
        self.res("output_blocks.3.0", a + a, a)
        self.norm("out.0", a)
        self.conv("out.2", 6, a, 3, 3)
        return self.weights


class Reference:
    """The forward pass on the checkpoint's own keys."""

    def __init__(self, maker: Maker) -> None:
        self.w, self.maker = maker.weights, maker

    def conv(self, key: str, x: torch.Tensor, **options: int) -> torch.Tensor:
        return F.conv2d(x, self.w[key + ".weight"], self.w[key + ".bias"], **options)

    def norm(self, key: str, x: torch.Tensor) -> torch.Tensor:
        return F.group_norm(x, 32, self.w[key + ".weight"], self.w[key + ".bias"])

    def res(self, key: str, x: torch.Tensor, emb: torch.Tensor, size: str = "") -> torch.Tensor:
        def resized(z: torch.Tensor) -> torch.Tensor:
            if size == "down":
                return F.avg_pool2d(z, 2)
            return F.interpolate(z, scale_factor=2, mode="nearest") if size == "up" else z

        h = self.conv(key + ".in_layers.2", resized(F.silu(self.norm(key + ".in_layers.0", x))), padding=1)
        e = F.linear(F.silu(emb), self.w[key + ".emb_layers.1.weight"], self.w[key + ".emb_layers.1.bias"])
        e = e[:, :, None, None]
        if self.maker.scale_shift:
            scale, shift = e.chunk(2, 1)
            h = self.norm(key + ".out_layers.0", h) * (1 + scale) + shift
        else:
            h = self.norm(key + ".out_layers.0", h + e)
        h = self.conv(key + ".out_layers.3", F.silu(h), padding=1)
        x = resized(x)
        return (self.conv(key + ".skip_connection", x) if key + ".skip_connection.weight" in self.w else x) + h

    def attention(self, key: str, x: torch.Tensor) -> torch.Tensor:
        n, c, height, width = x.shape
        flat = self.norm(key + ".norm", x).reshape(n, c, -1)
        qkv = F.conv1d(flat, self.w[key + ".qkv.weight"], self.w[key + ".qkv.bias"])
        heads = []
        for head in qkv.split(3 * HEAD, 1):
            q, k, v = head.split(HEAD, 1)
            weight = torch.softmax(q.transpose(1, 2) @ k / HEAD**0.5, -1)
            heads.append(v @ weight.transpose(1, 2))
        out = F.conv1d(torch.cat(heads, 1), self.w[key + ".proj_out.weight"], self.w[key + ".proj_out.bias"])
        return x + out.reshape(n, c, height, width)

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        half = WIDTHS[0] // 2
        angle = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half) / half)
        emb = torch.cat([angle.cos(), angle.sin()], 1)
        emb = F.linear(emb, self.w["time_embed.0.weight"], self.w["time_embed.0.bias"])
        emb = F.linear(F.silu(emb), self.w["time_embed.2.weight"], self.w["time_embed.2.bias"])
        residual = self.maker.residual
        h0 = self.conv("input_blocks.0.0", x, padding=1)
        h1 = self.res("input_blocks.1.0", h0, emb)
        key = "input_blocks.2.0"
        h2 = self.res(key, h1, emb, "down") if residual else self.conv(key + ".op", h1, stride=2, padding=1)
        h3 = self.attention("input_blocks.3.1", self.res("input_blocks.3.0", h2, emb))
        h = self.attention("middle_block.1", self.res("middle_block.0", h3, emb))
        h = self.res("middle_block.2", h, emb)
        h = self.attention("output_blocks.0.1", self.res("output_blocks.0.0", torch.cat([h, h3], 1), emb))
        h = self.attention("output_blocks.1.1", self.res("output_blocks.1.0", torch.cat([h, h2], 1), emb))
        key = "output_blocks.1.2"
        if residual:
            h = self.res(key, h, emb, "up")
        else:
            h = self.conv(key + ".conv", F.interpolate(h, scale_factor=2, mode="nearest"), padding=1)
        h = self.res("output_blocks.2.0", torch.cat([h, h1], 1), emb)
        h = self.res("output_blocks.3.0", torch.cat([h, h0], 1), emb)
        return self.conv("out.2", F.silu(self.norm("out.0", h)), padding=1)


@pytest.mark.parametrize(("residual", "scale_shift"), [(True, True), (False, False)])
def test_the_converted_network_computes_the_same(tmp_path, residual, scale_shift):
    maker = Maker(residual, scale_shift)
    torch.save(maker(), tmp_path / "model.pt")
    convert(tmp_path / "model.pt", tmp_path / "model", HEAD)
    prior = DiffusersPrior.from_folder(tmp_path / "model", torch.device("cpu"))
    x = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([3, 700])
    with torch.inference_mode():
        ours, reference = prior.unet(x, t).sample, Reference(maker)(x, t)
    assert ours.shape == (2, 6, 16, 24)
    assert float(reference.std()) > 0.1
    assert torch.allclose(ours, reference, atol=1e-5)
    assert prior.learned
    scheduler = json.loads((tmp_path / "model" / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["variance_type"] == "learned_range"


def test_other_checkpoints_are_refused():
    for key, word in (("label_emb.weight", "class labels"), ("extra.weight", "extra")):
        weights = Maker()() | {key: torch.zeros(1)}
        with pytest.raises(ModelUnavailableError, match=word):
            converted(weights, layout_of(weights), HEAD)
    with pytest.raises(ModelUnavailableError, match="guided-diffusion"):
        layout_of({"conv.weight": torch.zeros(1)})


def test_the_command_converts_once_and_refuses_in_one_line(tmp_path):
    torch.save(Maker()(), tmp_path / "model.pt")
    (tmp_path / "code.pt").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")

    def call(*args: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["models", "convert", *(str(a) for a in args)])
        return result.exit_code, result.stderr

    goal = tmp_path / "model"
    assert call(tmp_path / "model.pt", goal, "--head-channels", HEAD)[0] == 0
    for args, code in (
        ((tmp_path / "model.pt", goal), 2),
        ((tmp_path / "none.pt", tmp_path / "a"), 2),
        ((tmp_path / "model.pt", tmp_path / "b", "--head-channels", 48), 2),
        ((tmp_path / "code.pt", tmp_path / "c"), 4),
    ):
        found, text = call(*args)
        assert found == code, text
        assert len(text.strip().splitlines()) == 1
    assert not (tmp_path / "b").exists()
