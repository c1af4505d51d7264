"""One contract over every class of the installed diffusers that fills or edits: a result as promised, or a refusal that
names what is missing. Classes are found by inspection, so that those of a new release show up here."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_scene
from zoo import BUILDERS, PAINTERS
from zoo.small import everything_small
from zoo.table import END, START, claim, tables

from restore.edit.area import areas_of
from restore.edit.fillers import Order
from restore.edit.hub_filler import PainterFiller
from restore.pipelines.hub.capabilities import capabilities_of
from restore.pipelines.hub.crop import shrunk
from restore.pipelines.hub.inpaint import HubPainter, PainterOptions
from restore.pipelines.hub.relatives import painting, repainting
from restore.settings import Settings

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
REFUSED = {
    "BriaFibo2Pipeline": "JSON",
    "BriaFiboEditPipeline": "JSON",
    "Cosmos3OmniPipeline": "video",
    "FluxControlInpaintPipeline": "control_image",
    "IFInpaintingSuperResolutionPipeline": "original_image",
    "KandinskyInpaintPipeline": "image_embeds",
    "KandinskyV22InpaintPipeline": "image_embeds",
    "OnnxStableDiffusionInpaintPipeline": "ONNX Runtime",
    "PaintByExamplePipeline": "example_image",
    "StableAudio3InpaintPipeline": "sound",
    "StableDiffusionDiffEditPipeline": "place for the photo",
    "StableDiffusionXLControlNetUnionInpaintPipeline": "control_mode",
    "WanVACEPipeline": "video",
}
UNPAINTED = {
    "BriaPipeline",
    "HunyuanDiTPAGPipeline",
    "HunyuanDiTPipeline",
    "LuminaPipeline",
    "PRXPipeline",
}  # not built
CORE = {  # one of each family; the others carry the marker
    "StableDiffusionInpaintPipeline",
    "StableDiffusionXLInpaintPipeline",
    "StableDiffusionControlNetInpaintPipeline",
    "FluxInpaintPipeline",
    "FluxKontextInpaintPipeline",
    "Flux2KleinInpaintPipeline",
    "ChromaInpaintPipeline",
    "QwenImageEditInpaintPipeline",
    "QwenImageEditPlusPipeline",
    "ZImageInpaintPipeline",
    "JoyImageEditPipeline",
    "IFInpaintingPipeline",
    "PixArtSigmaPipeline",
    "OvisImagePipeline",
}
ALL = BUILDERS | PAINTERS
NAMES = [pytest.param(name, marks=[] if name in CORE else pytest.mark.zoo) for name in ALL]


def test_every_class_runs_or_is_refused_by_name():
    found = {kind.__name__: capabilities_of(kind, {}) for kind in repainting()}
    assert set(found) == {*BUILDERS, *REFUSED}
    assert {name for name, able in found.items() if able.lacks} == set(REFUSED)
    for name, word in REFUSED.items():
        assert word in found[name].lacks, name
        assert "\n" not in found[name].lacks


def test_every_class_that_paints_from_words_is_tried_or_known_not_to_be():
    found = {kind.__name__ for kind in painting()}
    assert found == {*PAINTERS, *UNPAINTED}
    assert not found & {kind.__name__ for kind in repainting()}


def test_the_documentation_says_what_runs():
    """UPDATE_DOCS=1 writes the tables anew."""
    page, told = ROOT / "docs" / "models.md", ROOT / "README.md"
    text = page.read_text(encoding="utf-8")
    before, after = text[: text.index(START)], text[text.index(END) + len(END) :]
    made = before + tables(ALL) + after
    if os.environ.get("UPDATE_DOCS"):
        page.write_text(made, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == made
    for path in (page, told):
        assert claim(BUILDERS) in " ".join(path.read_text(encoding="utf-8").split()), path


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    everything_small(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of diffusers about its own classes
        yield


@dataclass(frozen=True)
class Call:
    """One call of a pipeline, and how others differ from it."""

    pipe: Any
    size: int

    def __call__(
        self, seed: int = 1, words: str = "a dog", negative: str = "cat", photo: int = 0, box: int = 30, **options: Any
    ) -> Any:
        painter = HubPainter(self.pipe, PainterOptions(self.size, **options), CPU, "tiny")
        small, hole = self.crop(painter, photo, box)
        generator = torch.Generator().manual_seed(seed)
        return painter(small, hole, words, negative, generator=generator, num_inference_steps=3)

    @staticmethod
    def crop(painter: HubPainter, photo: int = 0, box: int = 30) -> tuple[Any, Any]:
        image, mask = make_scene(90, 120, seed=photo), np.zeros((90, 120), bool)
        mask[20:60, box : box + 50] = True
        return shrunk(image, mask, painter.shape_for(mask.shape))

    def direct(self) -> Any:
        """The first of them by the class itself, on a machine where nothing else draws numbers."""
        painter = HubPainter(self.pipe, PainterOptions(self.size), CPU, "tiny")
        given = painter.arguments(*self.crop(painter), "a dog", "cat", 3, None)
        generator = torch.Generator().manual_seed(1)
        within = given.pop("within", lambda _: contextlib.nullcontext())  # where it has no place for a photo
        with torch.random.fork_rng(devices=[]), within([generator]):
            torch.manual_seed(1)
            out = self.pipe(**given, generator=generator)
        found = out.frames[0][-1] if hasattr(out, "frames") else next(iter(out.values()))[0]
        picture = np.asarray(found)[..., :3]
        return np.asarray(picture / 255 if picture.dtype == np.uint8 else picture, np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_the_contract(name, tmp_path):
    pipe = ALL[name](tmp_path)
    size = 128 if name.startswith(("Flux2", "ZImageOmni")) else 64  # they refuse sides below 64
    one = HubPainter(pipe, PainterOptions(size), CPU, name)
    able, call = one.able, Call(pipe, size)
    assert able.pipeline == name
    assert not able.lacks

    untouched = torch.get_rng_state()
    first = call()
    assert torch.equal(torch.get_rng_state(), untouched)
    assert np.array_equal(call(), first)
    assert np.array_equal(call.direct(), first)
    assert not np.array_equal(call(seed=2), first)
    changes: dict[str, tuple[bool, Callable[[], Any]]] = {
        "photo": (True, lambda: call(photo=1)),
        "words": (able.words, lambda: call(words="a red cat")),
        "negative": (one.negative, lambda: call(negative="dog hat")),
        "mask": (bool(able.mask) or able.blends, lambda: call(box=60)),
        "strength": (able.strength is not None, lambda: call(strength=0.5)),
        "guidance": (bool(able.guidance), lambda: call(guidance=(one.scale or 4.0) + 2)),
    }
    differs = {key: not np.array_equal(make(), first) for key, (heard, make) in changes.items() if heard}
    assert differs == dict.fromkeys(differs, True)
    assert {"photo"} < set(differs) or not able.words

    photo, hole = make_scene(200, 300), np.zeros((200, 300), bool)
    hole[61:140, 83:201] = True
    (area,) = areas_of(photo, hole)
    stepped: list[int] = []
    order = Order(Settings(steps=2, candidates=1), 1, on_step=lambda: stepped.append(1))
    (got,) = PainterFiller(one, name).fill(area, area.hole, order)
    assert got.image.shape == area.image.shape
    assert np.array_equal(got.image[~area.hole], area.image[~area.hole])
    assert not np.array_equal(got.image, area.image)
    assert bool(stepped) == bool(able.callback)
