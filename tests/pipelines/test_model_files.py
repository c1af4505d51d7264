"""Models in one file or folder: LaMa-like fillers, artifact segmenters, feature networks."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image
from torch import nn

from restore import Engine
from restore.cli import main
from restore.edit.choose import settings_for
from restore.errors import InputError, ModelUnavailableError
from restore.pipelines.hub.file import FilePainter
from restore.quality.features.folder import FolderNet
from restore.quality.judges.judge import Judgement
from restore.quality.judges.segmenter_file import FileJudge

CPU = torch.device("cpu")


class Grey(nn.Module):
    """Fills with `level`, a little darker on the left, where the mask is 1, in the scale 0 … `top`."""

    def __init__(self, level: float, top: float) -> None:
        super().__init__()
        self.level, self.top = level, top

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        slope = torch.linspace(-0.1, 0.1, image.shape[3])
        return (image * (1 - mask) + (self.level + slope) * mask) * self.top


class Migan(nn.Module):
    """One input: ½ − mask and the picture in [−1, 1] without its hole. Fills with three quarters of white."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hole, slope = (x[:, :1] < 0).float(), torch.linspace(0.4, 0.6, x.shape[3])
        return x[:, 1:] * (1 - hole) + slope * hole


class Mat(nn.Module):
    """MAT's signature: keeps what is known (1 in the mask), fills with what the style vector says."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        assert z.shape == (1, 512)
        assert c.shape == (1, 0)
        slope = torch.linspace(-0.1, 0.1, image.shape[3])
        return image * mask + (torch.tanh(z[:, :3, None, None]) * 0.8 + slope) * (1 - mask)


class ToldMat(nn.Module):
    """The same as its program is called: with truncation and noise mode, and what was made first behind the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Mat()

    def forward(
        self, images_in: torch.Tensor, masks_in: torch.Tensor, z: torch.Tensor, c: torch.Tensor, truncation_psi: float,
        noise_mode: str, skip_w_avg_update: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        assert truncation_psi == 1
        assert noise_mode == "const"
        assert not skip_w_avg_update
        return self.net(images_in, masks_in, z, c), images_in


class RandomMat(nn.Module):
    """Three tensors, and noise of its own, from whatever generator torch has."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return image * mask + (torch.rand_like(image) - 0.5) * (1 - mask) + 0 * z.sum()


class Listed(nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor, sizes: list[int]) -> torch.Tensor:
        return image * (1 - mask)


class Bytes(nn.Module):
    """MI-GAN's pipeline: bytes, and 0 in the mask is what it fills, with grey that darkens to the left."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        known = mask.float() / 255
        slope = torch.linspace(100, 140, image.shape[3])
        return (image.float() * known + slope * (1 - known)).clamp(0, 255).to(torch.uint8)


class Half(nn.Module):
    """LaMa's form with weights in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = nn.Conv2d(3, 3, 9, padding=4, padding_mode="reflect").half()

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image * (1 - mask) + torch.sigmoid(self.blur(image)) * mask


class Segment(nn.Module):
    """Calls bright pixels artifacts (integers, two logits or one), or all pixels, or nothing."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.mean(1, keepdim=True) > 1
        if self.kind == "all" or self.kind == "nothing":
            return torch.full_like(bright, self.kind == "all").long()
        if self.kind == "classes":
            return bright.long()
        logit = torch.where(bright, 4.0, -4.0)
        return torch.cat([-logit, logit], 1) if self.kind == "two" else logit


def scripted(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is old, and so are the files it is read for
        torch.jit.save(torch.jit.script(module), str(path))
    return path


def field(number: int, value: bytes | int) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value)
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


FLOAT, UINT8 = 1, 2  # of ONNX


def exported(path: Path, size: int | None, kind: int = FLOAT) -> Path:
    """An ONNX file of image − image · image · mask, written by hand; in UINT8 of the lesser of image and mask."""

    def tensor(name: bytes, channels: int) -> bytes:
        side = field(1, size) if size else field(2, b"side")
        dims = b"".join(field(1, d) for d in (field(1, 1), field(1, channels), side, side))
        return field(1, name) + field(2, field(1, field(1, kind) + field(2, dims)))

    def node(kind: bytes, first: bytes, second: bytes, out: bytes) -> bytes:
        return field(1, field(1, first) + field(1, second) + field(2, out) + field(4, kind))

    graph = node(b"Mul", b"image", b"mask", b"hole") + node(b"Mul", b"image", b"hole", b"square")
    graph += node(b"Sub", b"image", b"square", b"out") + field(2, b"g")
    if kind == UINT8:  # what is kept, and 0 in the hole
        graph = node(b"Min", b"image", b"mask", b"out") + field(2, b"g")
    graph += field(11, tensor(b"image", 3)) + field(11, tensor(b"mask", 1)) + field(12, tensor(b"out", 3))
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13)))
    return path


def painted(painter: FilePainter, side: int = 40, seed: int = 0) -> Any:
    image, mask = make_scene(side, side), np.zeros((side, side), bool)
    mask[10:20, 12:30] = True
    generator = torch.Generator().manual_seed(seed)
    out = painter(image, mask, "", "", generator=generator, num_inference_steps=1)
    assert np.abs(out - image / 255)[~mask].max() < 1e-6
    return out[mask], image[mask] / 255


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_a_torchscript_filler_in_either_scale(tmp_path, top):
    painter = FilePainter(scripted(Grey(0.5, top), tmp_path / "lama.pt"), CPU)
    assert np.allclose(painted(painter)[0], 0.5, atol=0.1)


@pytest.mark.parametrize("size", [None, 40])
def test_an_onnx_filler_of_any_or_one_size(tmp_path, size):
    pytest.importorskip("onnxruntime")
    painter = FilePainter(exported(tmp_path / "lama.onnx", size), CPU)
    assert (painter.size, painter.square) == ((size, True) if size else (0, False))
    new, old = painted(painter)
    assert np.allclose(new, old - old**2, atol=1e-6)


def test_a_network_of_one_input_is_called_as_migan_is(tmp_path):
    painter = FilePainter(scripted(Migan(), tmp_path / "migan.pt"), CPU)
    assert (painter.size, painter.square, painter.shape_for((90, 120))) == (512, True, (512, 512))
    assert np.allclose(painted(painter)[0], 0.75, atol=0.06)


def test_a_pipeline_of_bytes_hears_what_is_kept(tmp_path):
    """This one keeps what its mask says and blackens the hole, which no fill may."""
    pytest.importorskip("onnxruntime")
    painter = FilePainter(exported(tmp_path / "bytes.onnx", None, UINT8), CPU)
    with pytest.raises(ModelUnavailableError, match=r"one flat colour \(0, 0, 0\)"):
        painted(painter)
    image, mask = make_scene(40, 40), np.zeros((1, 1, 40, 40), np.float32)
    mask[..., 10:20, 12:30] = 1
    pixels = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    out = painter.net(pixels, torch.from_numpy(mask), torch.Generator())[0].numpy()
    assert np.array_equal(np.rint(out * 255).transpose(1, 2, 0), image * (mask[0, 0] == 0)[..., None])


def test_a_pipeline_of_bytes_as_torchscript_is_told_by_its_answer(tmp_path):
    painter = FilePainter(scripted(Bytes(), tmp_path / "bytes.pt"), CPU)
    for _ in range(2):  # found out, then known
        assert np.allclose(painted(painter)[0], 121 / 255, atol=11 / 255)


@pytest.mark.parametrize("kind", [Mat, ToldMat, RandomMat])
def test_mat_is_told_by_its_inputs_and_follows_the_seed(tmp_path, kind):
    painter = FilePainter(scripted(kind(), tmp_path / "any.pt"), CPU)
    assert (painter.size, painter.square, painter.shape_for((90, 120))) == (512, True, (512, 512))
    one, again, other = (painted(painter, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert np.abs(one - other).max() > 0.01
    if kind is not RandomMat:
        style = np.tanh(torch.randn(1, 512, generator=torch.Generator().manual_seed(1))[0, :3].numpy())
        assert np.allclose(one, style * 0.4 + 0.5, atol=0.06)


def test_the_engine_makes_candidates_of_mat_from_their_seeds(tmp_path):
    photo, mask = make_scene(97, 131), np.zeros((97, 131), bool)
    mask[30:61, 40:75] = True
    engine = Engine(str(scripted(Mat(), tmp_path / "mat.pt")))
    first, again, other = (engine.inpaint(photo, mask=mask, passes=1, candidates=1, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)
    assert np.array_equal(first.image[~mask], photo[~mask])


def test_weights_in_half_precision_run_on_any_machine(tmp_path):
    assert np.isfinite(painted(FilePainter(scripted(Half(), tmp_path / "half.pt"), CPU))[0]).all()


def test_files_of_another_kind_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "pickle.pt")
    scripted(Segment("one"), tmp_path / "segmenter.pt")
    for name in ("pickle.pt", "segmenter.pt"):
        with pytest.raises(ModelUnavailableError, match="TorchScript or ONNX") as caught:
            painted(FilePainter(tmp_path / name, CPU))
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelUnavailableError, match="also takes sizes"):
        FilePainter(scripted(Listed(), tmp_path / "listed.pt"), CPU)
    (tmp_path / "bad.onnx").write_bytes(b"no")
    with pytest.raises(ModelUnavailableError, match="TorchScript or ONNX"):
        FilePainter(tmp_path / "bad.onnx", CPU)


def test_the_engine_fills_with_a_file_at_any_photo_size(tmp_path):
    photo, mask = make_scene(97, 131), np.zeros((97, 131), bool)
    mask[30:61, 40:75] = True
    engine = Engine(str(scripted(Grey(0.5, 1.0), tmp_path / "lama.pt")))
    result = engine.inpaint(photo, mask=mask, passes=1, candidates=1)
    assert np.array_equal(result.image[~mask], photo[~mask])
    assert (result.image[mask] != photo[mask]).any()


def shipped(image: np.ndarray, hole: np.ndarray | None = None) -> Judgement:
    hole = np.ones(image.shape[:2], bool) if hole is None else hole
    return Judgement(np.zeros(hole.shape, np.float32), hole, 0.7)


@pytest.mark.parametrize("kind", ["classes", "two", "one"])
def test_an_artifact_segmenter_from_a_file(tmp_path, kind):
    image = np.zeros((90, 120, 3), np.uint8)
    image[30:60, 40:80] = 255
    judge = FileJudge(scripted(Segment(kind), tmp_path / "pal.pt"), shipped, CPU)
    judgement = judge(image)
    truth = image[..., 0] > 0
    assert (judgement.artifacts == truth).mean() > 0.99  # but for the outline
    assert judgement.severity == 0.7
    hole = np.zeros((90, 120), bool)
    hole[:, :60] = True
    assert judge(image, hole).par_hole == pytest.approx(600 / hole.sum(), rel=0.1)


def test_the_command_takes_a_segmenter_and_refuses_what_is_none(tmp_path):
    Image.fromarray(make_scene(97, 131)).save(tmp_path / "photo.png")
    scripted(Grey(0.5, 1.0), tmp_path / "two-inputs.pt")
    command = ["inpaint", str(tmp_path / "photo.png"), "--box", "40,30,30,30", "--passes", "1", "--candidates", "1"]
    for kind, par in (("all", 1.0), ("nothing", 0.0)):
        judge = str(scripted(Segment(kind), tmp_path / f"{kind}.pt"))
        result = CliRunner().invoke(main, [*command, "--judge", judge, "--json", "--overwrite"])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["passes"][0]["par_hole"] == par
    for name in ("none.pt", "two-inputs.pt"):
        result = CliRunner().invoke(main, [*command, "--judge", str(tmp_path / name), "--overwrite"])
        assert result.exit_code == 4
        assert result.stderr.count("restore: ") == 1


def test_settings_name_models(tmp_path):
    (tmp_path / "s.yaml").write_text("model: sdxl-inpaint\nseed: 3\n")
    settings = settings_for(tmp_path / "s.yaml", passes=2)
    assert (settings.model, settings.steps, settings.seed, settings.passes) == ("sdxl-inpaint", 25, 3, 2)
    assert settings_for(tmp_path / "s.yaml", steps=8).steps == 8
    assert settings_for(None).steps == 8


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8,
        projection_dim=12,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "clip")
    said = {"crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 32}}
    (tmp_path / "clip" / "preprocessor_config.json").write_text(json.dumps(said))
    return tmp_path / "clip"


@pytest.fixture
def dino(tmp_path: Path) -> Path:
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(tmp_path / "dino")
    said = {"crop_size": {"height": 28, "width": 28}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "dino" / "preprocessor_config.json").write_text(json.dumps(said))
    return tmp_path / "dino"


@pytest.mark.parametrize(("name", "width"), [("clip", 12), ("dino", 16)])
def test_features_of_a_folder_are_the_networks_own(name, width, request):
    net = FolderNet(request.getfixturevalue(name))
    images = torch.rand(3, 3, net.side, net.side, generator=torch.Generator().manual_seed(0))
    got = net(images)
    assert got.shape == (3, width)
    with torch.no_grad():
        out = net.net(pixel_values=(images - net.mean) / net.std)
    expected = out.image_embeds if name == "clip" else out.last_hidden_state[:, 0]
    assert np.allclose(got, expected.numpy(), atol=1e-6)
    assert np.allclose(net(images[1:2])[0], got[1], atol=1e-5)


def test_compare_takes_a_folder_as_features(tmp_path, dino):
    for name, seed in (("ours", 0), ("theirs", 1)):
        (tmp_path / name).mkdir()
        for k in range(3):
            Image.fromarray(make_scene(40, 48, seed=seed + 2 * k)).save(tmp_path / name / f"{k}.png")
    command = ["compare", str(tmp_path / "ours"), "--reference", str(tmp_path / "theirs"), "--features", f"dino={dino}"]
    result = CliRunner().invoke(main, [*command, "--json"])
    assert result.exit_code in (0, 2), result.output  # 2: too few pictures for distances, the network was read
    assert "vision model" not in result.stderr


def test_a_folder_without_a_model_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="vision model"):
        FolderNet(tmp_path)
