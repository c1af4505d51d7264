"""Finders by name, on tiny randomly initialised models: prompts in, masks at the photo's size out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_hub
import torch
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image

from restore import Engine
from restore.cli import main
from restore.edit.choose import models_for, open_finder
from restore.errors import InputError, ModelUnavailableError
from restore.grounding import hub_models
from restore.grounding.grounder import Instance
from restore.grounding.hub_finder import HubFinder
from restore.grounding.hub_models import MODELS, Loaded, clipseg, grounding_dino, load, owlv2, prompted, sam3
from restore.settings import Settings

CPU = torch.device("cpu")
KINDS = ("clipseg", "dino", "owlv2", "sam", "sam2")
CLASSES = {"clipseg": "CLIPSegForImageSegmentation", "dino": "GroundingDinoForObjectDetection",
           "owlv2": "Owlv2ForObjectDetection", "sam": "SamModel", "sam2": "Sam2Model"}  # fmt: skip


pytestmark = pytest.mark.usefixtures("_no_network")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("finders")
    return {kind: getattr(tiny_hub, kind)(root / kind) for kind in KINDS}


def loaded(folders: dict[str, Path], kind: str) -> Loaded:
    return load(folders[kind], CLASSES[kind], 64, CPU)


class Embedded:
    """Knows one box, 20…60 × 10…40."""

    def named(self, image: Any, phrase: str) -> list[Instance]:
        mask = np.zeros(image.shape[:2], bool)
        mask[10:40, 20:60] = True
        return [Instance(mask, 0.8)]

    def at(self, image: Any, point: tuple[int, int]) -> Instance:
        return self.named(image, "")[0]


@pytest.mark.parametrize("shape", [(64, 64), (97, 131), (120, 50)])
@pytest.mark.parametrize("kind", KINDS)
def test_any_photo_size(folders, kind, shape):
    model, image = loaded(folders, kind), make_scene(*shape)
    with torch.inference_mode():
        if kind in ("sam", "sam2"):
            mask, score = prompted(model, image, box=np.float32([10, 10, 40, 40]))
            assert mask.shape == shape
            assert mask.dtype == bool
            assert 0 <= score <= 1
            assert prompted(model, image, point=(20, 30))[0].shape == shape
            return
        found = MODELS[CLASSES[kind]](model, image, "the cat")
    for part, score in found:
        assert part.shape == (shape if kind == "clipseg" else (4,))
        assert 0 <= score <= 1


def test_clipseg_is_the_models_own_map(folders):
    from transformers import AutoTokenizer, CLIPSegForImageSegmentation

    model = loaded(folders, "clipseg")
    net = CLIPSegForImageSegmentation.from_pretrained(folders["clipseg"]).eval()
    words = AutoTokenizer.from_pretrained(folders["clipseg"])("the cat", return_tensors="pt")
    image = make_scene(64, 64)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in hub_models.IMAGENET)
    with torch.inference_mode():
        logits = net(**words, pixel_values=(pixels - mean) / std).logits
        ((found, _),) = clipseg(model, image, "the cat")
    assert np.allclose(found, logits.reshape(64, 64).sigmoid().numpy(), atol=1e-6)


@pytest.mark.parametrize(("kind", "find"), [("owlv2", owlv2), ("dino", grounding_dino)])
def test_boxes_are_those_of_the_librarys_own_processing(folders, kind, find):
    """Against transformers' PIL processors and their post-processing, on a picture that neither resizes nor pads."""
    import transformers

    model, image = loaded(folders, kind), make_scene(64, 64)
    if kind == "owlv2":
        processor = transformers.Owlv2ImageProcessorPil(size={"height": 64, "width": 64})
        words = model.tokens("a photo of a cat", padding="max_length", max_length=hub_models.OWL_LENGTH)
    else:
        processor = transformers.GroundingDinoImageProcessorPil(size={"height": 64, "width": 64})
        words = model.tokens("cat.")
    pixels = processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        out = model.net(pixel_values=pixels, **words)
        found = find(model, image, "cat")
    scores = out.logits[0].sigmoid().amax(-1)
    assert np.allclose([score for _, score in found], scores.numpy(), atol=1e-4)
    if kind == "owlv2":
        own = processor.post_process_object_detection(out, threshold=0.0, target_sizes=[(64, 64)])[0]["boxes"].numpy()
        assert np.allclose([box for box, _ in found], own, atol=0.05)


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_masks_of_a_sam_are_its_own(folders, kind):
    model, image = loaded(folders, kind), make_scene(64, 64)
    pixels = model.pixels(image, 64, 64)
    with torch.inference_mode():
        out = model.net(pixel_values=pixels, input_points=torch.tensor([[[[20.0, 30.0]]]]),
                        input_labels=torch.ones(1, 1, 1, dtype=torch.int64))  # fmt: skip
        mask, score = prompted(model, image, point=(20, 30))
    best = int(out.iou_scores[0, 0].argmax())
    own = cv2.resize(out.pred_masks[0, 0, best].numpy(), (64, 64), interpolation=cv2.INTER_LINEAR) > 0
    assert (own == mask).mean() > 0.999
    assert score == pytest.approx(float(out.iou_scores[0, 0, best].clamp(0, 1)))


def test_coordinates_follow_the_models_picture(monkeypatch):
    """A SAM pads to a square, a SAM 2 squeezes: what each is told of the same box and point."""
    told: list[dict[str, torch.Tensor]] = []

    class SamModel:
        def __call__(self, **given: Any) -> Any:
            told.append(given)
            masks = torch.zeros(1, 1, 1, 16, 16)
            masks[..., :8, :] = 1.0
            return type("Output", (), {"pred_masks": masks - 0.5, "iou_scores": torch.ones(1, 1, 1)})

    class Sam2Model(SamModel):
        pass

    image = np.zeros((50, 100, 3), np.uint8)
    for kind in (SamModel, Sam2Model):
        model = Loaded(kind(), None, *hub_models.IMAGENET, 64, CPU)
        mask, _ = prompted(model, image, box=np.float32([50, 25, 100, 50]))
        prompted(model, image, point=(50, 25))
        assert mask.shape == (50, 100)
        if kind is SamModel:  # the picture ends at half of the square: the upper half of the masks is all of it
            assert mask.mean() > 0.95
        else:
            assert 0.4 < mask.mean() < 0.6
    squares = [[32.0, 16.0, 64.0, 32.0], [32.0, 32.0, 64.0, 64.0]]
    assert [told[k]["input_boxes"].flatten().tolist() for k in (0, 2)] == squares
    assert [told[k]["input_points"].flatten().tolist() for k in (1, 3)] == [[32.0, 16.0], [32.0, 32.0]]
    assert all(t["pixel_values"].shape == (1, 3, 64, 64) for t in told)


def test_sam3_scores_are_the_querys_times_the_presence():
    """The model itself has a text tower of its own and is not built here: its outputs are."""

    class Net:
        def __call__(self, **_: Any) -> Any:
            masks = torch.full((1, 2, 8, 8), -9.0)
            masks[0, 0, :4] = 9.0
            return type("Output", (), {"pred_masks": masks, "pred_logits": torch.tensor([[2.0, -2.0]]),
                                       "presence_logits": torch.tensor([[0.0]])})  # fmt: skip

    class Tokens:
        def __call__(self, text: str, return_tensors: str) -> dict[str, torch.Tensor]:
            return {"input_ids": torch.zeros(1, 2, dtype=torch.int64)}

    model = Loaded(Net(), Tokens(), *hub_models.HALF, 16, CPU)
    image = np.zeros((40, 30, 3), np.uint8)
    found = sam3(model, image, "cat")
    assert [score for _, score in found] == pytest.approx([0.4404, 0.0596], abs=1e-3)
    (instance,) = HubFinder(Embedded(), (model, sam3), None).named(image, "cat")
    assert instance.mask[:18].all()
    assert not instance.mask[22:].any()


def finder(boxes: list[tuple[list[float], float]], masks: Any = None) -> HubFinder:
    def find(model: Any, image: Any, phrase: str) -> Any:
        return [(np.float32(box), score) for box, score in boxes]

    return HubFinder(Embedded(), (None, find), masks)


def test_boxes_become_objects_once_best_first_and_only_if_sure():
    image = np.zeros((80, 100, 3), np.uint8)
    found = finder(
        [([20, 10, 60, 40], 0.5), ([21, 10, 60, 41], 0.9), ([70, 50, 95, 75], 0.6), ([0, 0, 9, 9], 0.2)]
    ).named(image, "cat")
    assert [i.score for i in found] == [0.9, 0.6]
    assert found[0].mask[12:38, 23:58].all()  # the embedded finder's click fills a box without a SAM
    assert found[1].mask.sum() == 25 * 25  # and where it finds nothing in it, the box stands


def test_a_sam_alone_outlines_what_the_embedded_grounder_finds(folders):
    image = make_scene(80, 100)
    (instance,) = HubFinder(Embedded(), None, loaded(folders, "sam2")).named(image, "cat")
    with torch.inference_mode():
        mask, _ = prompted(loaded(folders, "sam2"), image, box=np.float32([20, 10, 60, 40]))
    expected = mask if mask.any() else Embedded().named(image, "cat")[0].mask
    assert np.array_equal(instance.mask, expected)
    assert instance.score == 0.8


def test_names_folders_and_pairs_open_and_the_engine_uses_them(folders, monkeypatch):
    monkeypatch.setattr("restore.grounding.hub_finder.FOUND", 0.0)
    image = make_scene(97, 131)
    pair = f"{folders['owlv2']}+{folders['sam']}"
    opened = open_finder(models_for(Settings(grounder=pair)), CPU, Embedded())
    assert isinstance(opened, HubFinder)
    assert opened.words is not None
    assert opened.masks is not None
    engine = Engine(settings=Settings(grounder=pair))
    found = engine.segment(image, prompt="the cat").mask
    assert found.shape == (97, 131)
    assert found.any()
    assert np.array_equal(found, opened.named(image, "cat")[0].mask)


def test_the_command_takes_a_grounder(folders, tmp_path, monkeypatch):
    """A random SAM's mask is anything: its answer is replaced, the way to it is not."""
    Image.fromarray(make_scene(97, 131)).save(tmp_path / "photo.png")
    asked: list[Any] = []

    def small(model: Loaded, image: Any, box: Any = None, point: Any = None) -> tuple[Any, float]:
        asked.append((type(model.net).__name__, image.shape, point))
        mask = np.zeros(image.shape[:2], bool)
        mask[35:50, 55:70] = True
        return mask, 0.9

    monkeypatch.setattr("restore.grounding.hub_finder.prompted", small)
    command = ["inpaint", str(tmp_path / "photo.png"), "--passes", "1", "--candidates", "1", "--json"]
    result = CliRunner().invoke(main, [*command, "--point", "60,40", "--grounder", str(folders["sam"])])
    assert result.exit_code == 0, result.output
    assert asked == [("SamModel", (97, 131, 3), (60, 40))]
    assert json.loads(result.stdout)["mask"]["source"] == "point"


def test_a_sam_that_finds_nothing_at_a_click_is_an_input_error():
    class SamModel:
        def __call__(self, **_: Any) -> Any:
            return type("Output", (), {"pred_masks": -torch.ones(1, 1, 1, 4, 4), "iou_scores": torch.ones(1, 1, 1)})

    model = Loaded(SamModel(), None, *hub_models.IMAGENET, 16, CPU)
    with pytest.raises(InputError, match="click"):
        HubFinder(Embedded(), None, model).at(np.zeros((20, 20, 3), np.uint8), (3, 4))


def test_folders_of_another_kind_are_refused(folders, tmp_path):
    with pytest.raises(ModelUnavailableError, match="one of CLIPSeg"):
        load(tmp_path, "BertModel", 64, CPU)
    with pytest.raises(ModelUnavailableError, match="safetensors"):
        load(tmp_path, "SamModel", 64, CPU)
    pickled = tmp_path / "sam"
    pickled.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (pickled / name).write_text((folders["sam"] / name).read_text())
    (pickled / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/run'\ntR.")
    with pytest.raises(ModelUnavailableError, match="safetensors"):
        open_finder(models_for(Settings(grounder=str(pickled))), CPU, Embedded())
    assert json.loads((pickled / "config.json").read_text())["architectures"] == ["SamModel"]
