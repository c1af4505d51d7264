"""The segmenter's arithmetic, and the grounder on pictures drawn here."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from benchmarks.fill import Photo
from benchmarks.new_objects import Fill, new_objects
from restore.edit.find import RegionFinder
from restore.edit.request import to_inpaint
from restore.features.lite0 import Lite0
from restore.grounding.grounder import Instance, _components, _outline
from restore.grounding.segmenter import Segmenter, click_map
from restore.grounding.vocabulary import Entry
from restore.images.photo import photo_from_array
from restore.training.data.scenes import Cutout, Scene, _paste_group
from restore.training.recipes.grounder import countable, segmentation_loss


def test_click_map_peaks_at_the_click_and_has_the_width_of_its_sigma():
    heat = click_map(torch.tensor([[3.0, 5.0]]), 10, 12)[0, 0]
    assert heat.shape == (10, 12)
    assert heat[5, 3] == 1
    assert heat[5, 4].item() == pytest.approx(np.exp(-0.5))
    assert heat.argmax() == 5 * 12 + 3


def test_evidence_is_a_probability_that_adds_over_classes():
    torch.manual_seed(0)
    net = Segmenter(Lite0()).eval()
    f = net.encode(torch.rand(1, 3, 64, 96))
    a, b, both = f.evidence([1, 5]), f.evidence([7]), f.evidence([1, 5, 7])
    assert torch.allclose(a + b, both, atol=1e-6)
    assert torch.allclose(f.evidence(list(range(1000))), torch.ones(1, 1, 2, 3), atol=1e-5)


def test_similarity_is_the_cosine_to_the_prompted_mean():
    features = torch.zeros(1, 2, 2, 2)
    features[0, 0, 0], features[0, 1, 1] = 1, 1  # upper row (1, 0), lower row (0, 1)
    prompt = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    found = Segmenter._similarity(features, prompt)
    assert torch.allclose(found[0, 0, 0], torch.ones(2), atol=1e-5)
    assert torch.allclose(found[0, 0, 1], torch.zeros(2), atol=1e-5)


def test_components_drops_specks_and_orders_by_size():
    mask = np.zeros((50, 50), bool)
    mask[2:6, 2:6] = mask[20:40, 20:40] = mask[48, 48] = True
    parts = _components(mask, 0.002)
    assert [int(p.sum()) for p in parts] == [400, 16]


def test_the_outline_snaps_to_the_photos_edges():
    """A probability edge that is two pixels off moves to the colour edge."""
    image = np.full((100, 100, 3), 40, np.uint8)
    image[:, 50:] = 220
    probability = np.zeros((100, 100), np.float32)
    probability[:, 52:] = 1
    edge = _outline(image, probability)[50].argmax()
    assert abs(int(edge) - 50) <= 1


def test_nothing_is_found_in_an_empty_picture(engine):
    flat = np.full((120, 160, 3), 127, np.uint8)
    assert engine._grounder.find(flat, tuple(range(281, 286)), False) == []
    assert engine._grounder.find(flat, (), True) == []


def test_a_click_gives_the_part_under_it(engine):
    image = np.full((160, 200, 3), 200, np.uint8)
    image[40:110, 60:130] = (180, 30, 30)
    found = engine._grounder.at(image, (95, 75))
    assert found.mask.shape == (160, 200)
    assert found.mask[75, 95]
    inside = found.mask[40:110, 60:130].mean()
    outside = found.mask[:, 150:].mean()
    assert inside > outside


def test_many_words_share_one_encoding(engine):
    """`find_in` on shared encodings is `find`, for classes and for people."""
    grounder = engine._grounder
    image = np.full((60, 224, 3), 90, np.uint8)
    image[10:50, 60:120] = (240, 180, 20)
    looks = grounder.look(image)
    for classes, person in ((tuple(range(1000)), False), ((), True)):
        alone, shared = grounder.find(image, classes, person), grounder.find_in(looks, classes, person)
        assert [i.score for i in alone] == [i.score for i in shared]
        assert all((a.mask == b.mask).all() for a, b in zip(alone, shared, strict=True))


def test_weak_evidence_is_refused_before_decoding(engine, monkeypatch):
    """A word whose evidence alone is below the least score costs no decoding."""
    grounder = engine._grounder
    looks = grounder.look(np.full((96, 96, 3), 127, np.uint8))
    most = torch.stack([f.probabilities().amax((0, 2, 3)) for f in looks.features]).amax(0)
    weakest = int(most.argmin())
    monkeypatch.setattr(grounder, "_decode", lambda *_: pytest.fail("decoded"))
    assert grounder.find_in(looks, (weakest,), False) == []


class _Seen:
    """A grounder that sees given masks in given photos."""

    def __init__(self, seen: list[tuple[np.ndarray, int, np.ndarray]]) -> None:
        self.seen = seen

    def look(self, image: np.ndarray) -> np.ndarray:
        return image

    def find_in(
        self, looks: np.ndarray, classes: tuple[int, ...], person: bool, within: np.ndarray | None = None
    ) -> list[Instance]:
        key = -1 if person else classes[0]
        return [Instance(mask, 0.9) for image, k, mask in self.seen if image is looks and k == key]


def _box(y: int, x: int, side: int) -> np.ndarray:
    mask = np.zeros((60, 60), bool)
    mask[y : y + side, x : x + side] = True
    return mask


@pytest.mark.parametrize(
    ("before", "after", "removed", "count"),
    [
        (None, _box(20, 20, 10), False, 1),  # only in the fill
        (_box(20, 20, 10), _box(21, 20, 10), False, 0),  # was there
        (_box(40, 40, 10), _box(20, 20, 10), False, 1),  # another one was there, elsewhere
        (_box(20, 20, 10), _box(20, 20, 10), True, 1),  # was to be removed
        (None, _box(20, 0, 20), False, 0),  # stands mainly beside the hole
    ],
)
def test_a_new_object_stands_in_the_hole_and_was_not_there(before, after, removed, count):
    photo = Photo("p", np.zeros((60, 60, 3), np.uint8), _box(15, 15, 30))
    fill, cat = np.ones_like(photo.image), Entry("cat", (281,), False, 1.0)
    seen = [(fill, 281, after)] + ([] if before is None else [(photo.image, 281, before)])
    found = new_objects(_Seen(seen), {"cat": cat}, Fill(photo, cat if removed else None, fill))
    assert len(found) == count


def test_unlabelled_people_are_no_negatives():
    """Where labels are incomplete, "nobody" counts half, and nothing where the network sees somebody."""
    logits, target = torch.tensor([[[[3.0, -3.0, 3.0, -3.0]]]]), torch.tensor([[[[0.0, 0.0, 1.0, 1.0]]]])
    assert countable(logits, target, torch.tensor([0.0])).flatten().tolist() == [0.0, 0.5, 1.0, 1.0]
    assert countable(logits, target, torch.tensor([1.0])).flatten().tolist() == [1.0, 1.0, 1.0, 1.0]
    doubt = torch.tensor([[[[9.0, -9.0, 9.0, 9.0]]]])
    spared = segmentation_loss(doubt, target, countable(doubt, target, torch.tensor([0.0])))
    blamed = segmentation_loss(doubt, target, torch.ones_like(target))
    assert spared.item() < 0.01 < blamed.item()


def test_a_group_of_pasted_people_has_disjoint_masks_of_what_is_visible():
    rng = np.random.default_rng(0)
    cuts = []
    for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250)):
        mask = np.zeros((90, 40), np.uint8)
        mask[5:85, 8:32] = 1
        cuts.append(Cutout("p", np.full((90, 40, 3), colour, np.uint8), mask, "human", ("person",)))
    for _ in range(8):
        scene = Scene(np.zeros((128, 128, 3), np.uint8), [], [], complete=True)
        _paste_group(scene, cuts, [0, 1, 2], rng)
        assert np.sum(scene.instances, axis=0).max() == 1
        for mask, kind in zip(scene.instances, scene.kinds, strict=True):
            core = cv2.erode(mask.astype(np.uint8), np.ones((5, 5))) > 0
            assert (scene.image[core].argmax(1) == kind).all()


def test_people_are_looked_for_in_the_windows_of_the_hole_only(engine):
    """A woman at the left of a wide picture may not be copied into a hole beside her; far to the right she is no
    matter."""
    picture = np.full((512, 1800, 3), 120, np.uint8)
    picture[:, :512] = skimage.data.astronaut()
    finder, photo = RegionFinder(engine._grounder), photo_from_array(picture)
    beside = finder.find(to_inpaint("builtin", photo, box=(540, 100, 160, 300))).alive
    assert beside is not None
    scale = beside.shape[1] / 1800
    where = np.nonzero(beside)[1] / scale
    assert where.max() < 540
    assert beside[int(40 * scale) : int(180 * scale), int(190 * scale) : int(280 * scale)].mean() > 0.5  # her face
    assert finder.find(to_inpaint("builtin", photo, box=(1400, 100, 160, 300))).alive is None
