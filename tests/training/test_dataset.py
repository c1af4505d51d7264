"""Training sets out of annotated photos: what is read, said, removed, kept, and what a stopped build leaves."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import make_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from restore.api import Engine, Segmentation
from restore.cli import main
from restore.errors import InputError, ObjectNotFoundError
from restore.grounding.grounder import Instance
from restore.grounding.instruction import Extent, parse, select
from restore.images.geometry import mask_box
from restore.training.data.shards import Triplet, read_shards
from restore.training.dataset.annotation_json import _run_lengths
from restore.training.dataset.annotations import load, read_annotations
from restore.training.dataset.options import BuildOptions, RemovalOptions
from restore.training.dataset.records import Annotated, PhotoRecord, Rejected, Thing
from restore.training.dataset.removals import Remover, dilated, refined
from restore.training.dataset.triplets import build
from restore.training.dataset.wording import means_only, word_for

SIZE = (96, 80)  # (W, H) of the annotated photo below
CAT, DOG = (4, 20, 22, 30), (60, 36, 24, 28)  # boxes (x, y, w, h)


def box_map(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    labels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    for n, (x, y, w, h) in enumerate(boxes, 1):
        labels[y : y + h, x : x + w] = n
    return labels


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def run_lengths(mask: np.ndarray) -> list[int]:
    """Outside and inside in turn, down the columns, beginning with outside."""
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, len(flat)]).tolist()
    return [0, *runs] if flat[0] else runs


def polygon(x: int, y: int, w: int, h: int) -> list[list[float]]:
    return [[x, y, x + w - 1, y, x + w - 1, y + h - 1, x, y + h - 1]]


def coco(images: list[dict], annotations: list[dict]) -> dict:
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "Dog"}],
    }


PHOTO = {"id": 3, "file_name": "a.png", "width": SIZE[0], "height": SIZE[1]}


def write_layout(folder: Path, layout: str) -> Path:
    """The photo a.png with a cat and a dog in one of the layouts."""
    photo = png(make_scene(SIZE[1], SIZE[0]))
    (folder / "a.png").write_bytes(photo)
    source = folder / "labels.json"
    masks = [box_map(CAT) > 0, box_map(DOG) > 0]
    if layout == "coco":
        outlines = [polygon(*CAT), {"size": [SIZE[1], SIZE[0]], "counts": run_lengths(masks[1])}]
        here = [{"image_id": 3, "category_id": c, "segmentation": s} for c, s in zip((7, 9), outlines, strict=True)]
        source.write_text(json.dumps(coco([PHOTO], here)))
    elif layout in ("gqa", "visual genome"):
        edge = {"name": "to the left of", "object": "12"}
        things = [dict(zip("xywh", box, strict=True)) for box in (CAT, DOG)]
        objects = {"11": {"name": "cat", "relations": [edge], **things[0]}, "12": {"name": "dog", **things[1]}}
        data: object = {"a": {"width": SIZE[0], "height": SIZE[1], "objects": objects}}
        if layout == "visual genome":
            listed = [
                {"object_id": int(k), "names": [o["name"]], **{c: o[c] for c in "xywh"}} for k, o in objects.items()
            ]
            edges = [{"predicate": "To the left of", "subject_id": 11, "object_id": 12}]
            data = [{"image_id": "a", "objects": listed, "relationships": edges}]
        source.write_text(json.dumps(data))
    elif layout.startswith("voc"):
        source = folder / "VOC"
        for name in ("JPEGImages", "SegmentationObject", "SegmentationClass", "Annotations"):
            (source / name).mkdir(parents=True)
        (source / "JPEGImages/a.png").write_bytes(photo)
        if layout == "voc masks":
            labels = box_map(CAT, DOG)
            labels[0] = 255  # void
            (source / "SegmentationObject/a.png").write_bytes(png(labels))
            (source / "SegmentationClass/a.png").write_bytes(
                png(np.array([0, 8, 12])[box_map(CAT, DOG)].astype(np.uint8))
            )
        else:
            xml = "".join(
                f"<object><name>{name}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax>"
                f"<ymax>{y + h}</ymax></bndbox></object>"
                for name, (x, y, w, h) in (("cat", CAT), ("dog", DOG))
            )
            (source / "Annotations/a.xml").write_text(f"<annotation>{xml}</annotation>")
    else:
        row = {"id": "a", "instances": {"1": "cat", "2": "dog"}}
        files = {"objects.jsonl": json.dumps(row).encode(), "a.webp": photo, "a.png": png(box_map(CAT, DOG))}
        source = folder / "set"
        source.mkdir()
        for name, content in files.items():
            (source / name).write_bytes(content)
        if layout == "objects.tar":
            with tarfile.open(folder / "objects.tar", "w") as tar:
                tar.add(source, "objects")
            source = folder / "objects.tar"
    return source


LAYOUTS = {"coco": True, "voc masks": True, "objects.tar": True, "objects folder": True,
           "voc boxes": False, "gqa": False, "visual genome": False}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_things(layout, tmp_path):
    (record,) = read_annotations(write_layout(tmp_path, layout))
    photo = load(record, 512)
    assert np.array_equal(photo.pixels, make_scene(SIZE[1], SIZE[0]))
    assert [(t.name, t.box) for t in photo.things] == [("cat", CAT), ("dog", DOG)]
    for thing, box in zip(photo.things, (CAT, DOG), strict=True):
        assert (thing.mask is not None) == LAYOUTS[layout]
        assert thing.mask is None or np.array_equal(thing.mask, box_map(box) > 0)
    if layout in ("gqa", "visual genome"):
        assert photo.things[0].relations == (("to the left of", 1),)


def test_packed_run_lengths_are_those_of_the_reference_implementation(tmp_path):
    mask = np.zeros((7, 40), bool)  # packed with pycocotools 2.0.11
    mask[2:5, 3:30] = mask[1:6, 34:37] = True
    mask[0, 0] = mask[6, 39] = True
    packed = "01f02^O000000000000000000000000000000000000000000000000000k02SO000c0L"
    assert np.array_equal(_run_lengths({"size": [7, 40], "counts": packed}, (40, 7)), mask)


def test_photos_are_reduced_with_their_things(tmp_path):
    (record,) = read_annotations(write_layout(tmp_path, "coco"))
    photo = load(record, 40)
    assert photo.size == (48, 40)
    assert photo.things[1].box == (30, 18, 12, 14)
    assert photo.things[1].mask is not None
    assert photo.things[1].mask.shape == (40, 48)
    assert mask_box(photo.things[1].mask) == photo.things[1].box


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"images": [', "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ('{"a": 1}', "COCO"),
        ("[]", "other JSON"),
        ("17", "other JSON"),
        ('{"images": [], "annotations": [], "categories": []}', "expected annotated photos"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "no 'file_name'"),
        ('{"images": [], "annotations": [5], "categories": []}', "got"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": ""}]}', "class name"),
        ('[{"image_id": 1, "objects": [{"object_id": 1, "names": []}]}]', "got"),
    ],
)
def test_broken_annotation_files_are_one_clear_error(content, words, tmp_path):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(InputError, match=words):
        read_annotations(tmp_path / "labels.json")
    result = cli(tmp_path / "labels.json", "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout, (tmp_path / "out").exists()) == (2, "", False)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("layout", ["coco", "gqa", "visual genome", "voc masks", "objects folder"])
def test_links_and_names_stay_inside_the_folder(layout, tmp_path):
    outside, data = tmp_path / "outside", tmp_path / "data"
    outside.mkdir()
    data.mkdir()
    source = write_layout(data, layout)
    named = {"voc masks": source / "JPEGImages/a.png", "objects folder": source / "a.webp"}
    photo = named.get(layout, data / "a.png")
    photo.rename(outside / "photo")
    photo.symlink_to(outside / "photo")
    (record,) = read_annotations(source)
    with pytest.raises(Rejected, match="image missing"):
        load(record, 512)
    photo.unlink()
    (outside / "photo").rename(photo.with_name("kept"))
    photo.symlink_to("kept")  # within the folder a link is a file like any other
    (record,) = read_annotations(source)
    assert load(record, 512).size == SIZE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"file_name": "gone.png"}, "image missing"),
        ({"file_name": "../secret.png"}, "image missing"),
        ({"file_name": "a\0.png"}, "annotation broken"),
        ({"file_name": "labels.json"}, "image broken or too small"),
        ({"width": 95}, "image of another size"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, "mask of another size"),
        ({"segmentation": {"size": [80, 96], "counts": [81]}}, "annotation broken"),
        ({"segmentation": {"size": [80, 96], "counts": "~~~"}}, "annotation broken"),
        ({"segmentation": {"size": [80, 96], "counts": [2**62, 2**62, 2**62, 2**62, 7680]}}, "annotation broken"),
        ({"segmentation": {"size": [80, 96], "counts": "o" * 1000}}, "annotation broken"),
        ({"segmentation": [[1, 2, 3]]}, "annotation broken"),
        ({"segmentation": [["NaN", 2, 3, 4, 5, 6]]}, "annotation broken"),
        ({"bbox": ["x", 0, 3, 4]}, "annotation broken"),
        ({"bbox": None}, "annotation broken"),
        ({"category_id": 8}, "annotation broken"),
    ],
)
def test_a_broken_photo_among_others_is_a_counted_reason(change, reason, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "secret.png").write_bytes(png(make_scene(SIZE[1], SIZE[0])))
    (images / "a.png").write_bytes((tmp_path / "secret.png").read_bytes())
    entry = PHOTO | {k: v for k, v in change.items() if k in PHOTO}
    annotation = {"image_id": 3, "category_id": 7, "bbox": CAT} | {k: v for k, v in change.items() if k not in PHOTO}
    (images / "labels.json").write_text(json.dumps(coco([entry], [annotation])))
    (record,) = read_annotations(images / "labels.json")
    with pytest.raises(Rejected, match=reason):
        load(record, 512)


def thing(name: str, x: int, y: int = 40, w: int = 10, h: int = 10, **more: object) -> Thing:
    return Thing(name, (x, y, w, h), **more)  # type: ignore[arg-type]


def wordings(things: list[Thing], index: int, size: tuple[int, int] = (200, 100)) -> set[str]:
    return {word_for(things, index, size, np.random.default_rng(seed)) for seed in range(40)}


def test_a_class_that_is_unique_is_named_alone():
    assert wordings([thing("cat", 20), thing("dog", 90)], 0) == {"remove the cat"}


def test_one_of_several_is_told_by_place_order_or_relation():
    cats = [thing("cat", 20), thing("cat", 150), thing("plate", 120, 42)]
    told = wordings(cats, 0)
    assert {"remove the cat on the left", "remove the leftmost cat", "remove the cat left of the plate"} <= told
    assert "remove the largest cat" not in told  # both are of one size
    assert not any("above" in text or "below" in text for text in told)  # the plate is lower, but mainly to the right
    assert all("right" not in text for text in told)
    row = [thing("person", x) for x in (10, 60, 110, 160)]
    assert "remove the second person from the left" in wordings(row, 1)
    on_table = thing("cup", 20, relations=(("on", 2),), h=11)
    told = wordings([on_table, thing("cup", 150), thing("table", 15, 50, 30, 20)], 0)
    assert "remove the cup on the table" in told


def test_words_that_mean_the_same_count_as_one_class():
    assert "remove the man" not in wordings([thing("man", 20), thing("person", 150)], 0)
    assert "remove the dog" not in wordings([thing("dog", 20), thing("animal", 150)], 0)


@pytest.mark.parametrize(
    ("things", "reason"),
    [
        ([thing("cat", 90), thing("cat", 91)], "no unambiguous instruction"),
        ([thing("cat", 20), thing("cat", 150, crowd=True)], "class is also there as a crowd"),
        ([thing("cats", 20)], "class name cannot be said"),
        ([thing("everything", 20)], "class name cannot be said"),
        ([thing("cat on the left", 20)], "class name cannot be said"),
    ],
)
def test_what_cannot_be_told_apart_is_rejected(things, reason):
    with pytest.raises(Rejected, match=reason):
        word_for(things, 0, (200, 100), np.random.default_rng(0))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["cat", "person", "cup", "plate"]), *[st.integers(0, 150)] * 2, *[st.integers(5, 60)] * 2
        ),
        min_size=1, max_size=7,
    ),
    st.integers(0, 99),
)  # fmt: skip
def test_an_instruction_read_back_chooses_exactly_its_thing(boxes, seed):
    things = [thing(*values) for values in boxes]
    for index, wanted in enumerate(things):
        try:
            text = word_for(things, index, (200, 200), np.random.default_rng(seed))
        except Rejected:
            continue
        told = parse(text)
        same = [i for i, t in enumerate(things) if t.name == told.phrase]
        related = None
        if told.relation:
            related = [Extent(t.box, t.area, 0.5) for t in things if t.name == told.relation.target.phrase]
        chosen = select([Extent(things[i].box, things[i].area, 0.5) for i in same], told, (200, 200), related)
        assert told.phrase == wanted.name
        assert [same[i] for i in chosen] == [index]


def test_only_clear_instructions_pass():
    cats = [thing("cat", 20), thing("cat", 40), thing("cup", 100), thing("cup", 180)]
    assert not means_only("remove the cat on the left", cats, 0, (200, 100))  # both are in the left half
    assert means_only("remove the leftmost cat", cats, 0, (200, 100))
    assert not means_only("remove the leftmost cat", cats, 1, (200, 100))
    assert not means_only("remove the cat left of the cup", cats, 0, (200, 100))  # which cup?
    assert not means_only("remove the cat", cats, 0, (200, 100))
    assert not means_only("remove the cats", cats, 0, (200, 100))


def test_masks_are_mended_and_dilated_as_in_the_paper():
    mask = np.zeros((256, 300), bool)
    mask[100:140, 100:150] = True
    worn = mask.copy()
    worn[110:113, 120:123] = False
    worn[20:23, 20:23] = True
    assert np.array_equal(refined(worn), mask)
    grown = np.zeros_like(mask)
    grown[95:145, 95:155] = True  # an 11×11 square at a short side of 256
    assert np.array_equal(dilated(mask), grown)
    doubled = np.kron(mask, np.ones((2, 2), bool))
    assert mask_box(dilated(doubled)) == (200 - 11, 200 - 11, 100 + 22, 80 + 22)  # 23×23 at 512


class Eyes(Engine):
    """The engine with a grounder that sees what the test says: before the removal, and after."""

    before: list[np.ndarray]
    after: list[np.ndarray]
    photo: np.ndarray

    def segment(self, image, *, prompt=None, point=None):
        seen = self.before if np.array_equal(image, self.photo) else self.after
        if not seen:
            raise ObjectNotFoundError("nothing")
        return Segmentation(seen[0], 0.9, [Instance(mask, 0.9) for mask in seen])


@pytest.fixture(scope="module")
def bare() -> np.ndarray:
    return make_scene(96, 128)


def disc(x: int, y: int, radius: int = 11) -> np.ndarray:
    rows, columns = np.mgrid[:96, :128]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


@pytest.fixture(scope="module")
def photo(bare) -> Annotated:
    pixels = bare.copy()
    pixels[disc(64, 30)] = (200, 30, 30)
    return Annotated(pixels, [Thing("ball", mask_box(disc(64, 30)), disc(64, 30))])


@cache
def eyes() -> Eyes:
    return Eyes(device="cpu")


def remover(photo: Annotated, before: list[np.ndarray], after: list[np.ndarray], par: float = 1.0) -> Remover:
    eyes().before, eyes().after, eyes().photo = before, after, photo.pixels
    return Remover(eyes(), RemovalOptions(par, passes=1, candidates=1))


def test_a_removal_changes_the_hole_only_and_repeats(photo):
    made = [remover(photo, [disc(64, 30)], []).remove(photo, 0, "a") for _ in range(2)]
    first = made[0]
    assert first.instruction == "remove the ball"
    assert first.mask[disc(64, 30)].all()
    assert first.mask.mean() < 0.2
    assert np.array_equal(first.source, photo.pixels)
    assert np.array_equal(first.target[~first.mask], photo.pixels[~first.mask])
    assert first.target[disc(64, 30)][:, 0].mean() < 170  # sky, not the red ball
    assert np.array_equal(first.target, made[1].target)


def test_the_gate_names_what_failed(photo):
    ball, elsewhere, here = disc(64, 30), disc(20, 30), [disc(64, 30)]

    def reason(*seen: list[np.ndarray], name: str = "ball", box: tuple[int, ...] | None = None) -> str:
        things = [Thing(name, box or mask_box(ball), None if box else ball)]  # type: ignore[arg-type]
        with pytest.raises(Rejected) as error:
            remover(photo, *seen).remove(Annotated(photo.pixels, things), 0, "a")
        return error.value.reason

    assert reason([], []) == "object not grounded"
    assert reason([elsewhere], []) == "object not grounded"
    assert reason([ball, elsewhere], []) == "more of them than annotated"
    assert reason(here, here) == "object still found"
    assert reason(here, [], name="florb") == "class unknown to the grounder"
    assert reason(here, [], box=(0, 0, 0, 5)) == "object outside the photo"
    assert reason(here, [], box=(0, 0, 10, 60)) == "object too small"
    assert reason(here, [], box=(0, 0, 100, 90)) == "object too large"


def test_too_many_artifacts_are_rejected(photo, monkeypatch):
    from restore.quality.judges.judge import Judgement

    monkeypatch.setattr(Judgement, "artifacts", property(lambda self: self.hole))
    with pytest.raises(Rejected, match="artifacts in the hole"):
        remover(photo, [disc(64, 30)], [], par=0.05).remove(photo, 0, "a")


def test_a_box_alone_takes_the_grounders_mask(photo):
    boxed = Annotated(photo.pixels, [Thing("ball", mask_box(disc(64, 30)))])
    triplet = remover(photo, [disc(64, 30), disc(64, 30, 16)], []).remove(boxed, 0, "a")
    assert triplet.mask[disc(64, 30)].all()
    assert not triplet.mask[:8, :30].any()


def test_an_irrelevant_instruction_names_what_is_not_there_and_changes_nothing(photo):
    names = Counter({"ball": 50, "cat": 5})
    triplet = remover(photo, [], []).leave(photo, names, "a")
    assert (triplet.instruction, triplet.relevant) == ("remove the cat", False)
    assert np.array_equal(triplet.target, photo.pixels)
    with pytest.raises(Rejected, match="absent class found"):
        remover(photo, [disc(20, 20)], []).leave(photo, names, "a")
    with pytest.raises(Rejected, match="no class is absent"):
        remover(photo, [], []).leave(photo, Counter({"ball": 1}), "a")


class Quick(Remover):
    """Removes without an engine: paints the object grey, and rejects every third."""

    def __init__(self) -> None:
        self.calls = 0

    def remove(self, photo: Annotated, index: int, salt: str) -> Triplet:
        self.calls += 1
        if (int(salt) + index) % 3 == 0:
            raise Rejected("object too small" if index else "artifacts in the hole")
        thing = photo.things[index]
        assert thing.mask is not None
        target = photo.pixels.copy()
        target[thing.mask] = 128
        return Triplet(photo.pixels, target, thing.mask, f"remove the {thing.name}", thing.name, thing.box, 0.01, 70.0)

    def leave(self, photo, names, salt):
        self.calls += 1
        nothing = np.zeros(photo.pixels.shape[:2], bool)
        return Triplet(photo.pixels, photo.pixels, nothing, "remove the bus", "bus", (0, 0, 0, 0), 0.0, 100.0)


def records(count: int = 14) -> list[PhotoRecord]:
    def things(size: tuple[int, int]) -> list[Thing]:
        masks = [box_map(CAT) > 0, box_map(DOG) > 0]
        return [Thing(n, mask_box(m), m) for n, m in zip(("cat", "dog"), masks, strict=True)]

    def image(i: int) -> bytes:
        if i == 5:
            raise Rejected("image missing")
        return png(make_scene(SIZE[1], SIZE[0], seed=i))

    return [PhotoRecord(str(i), ("cat", "dog"), lambda i=i: image(i), things) for i in range(count)]  # type: ignore[misc]


OPTIONS = BuildOptions(RemovalOptions(), shard_size=4)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "set"
    build(records(), out, OPTIONS, Quick)
    return out


def test_a_data_set_holds_what_was_kept_and_counts_the_rest(whole):
    stats = json.loads((whole / "stats.json").read_text())
    index = [json.loads(line) for line in (whole / "index.jsonl").read_text().splitlines()]
    assert stats["rejected"] == {"artifacts in the hole": 5, "object too small": 3, "image missing": 1}
    assert (stats["objects_tried"], stats["removals"], stats["photos"]) == (26, 18, {"given": 14, "visited": 14})
    assert stats["accepted"] == len(index) == stats["removals"] + stats["irrelevant"]
    assert stats["irrelevant"] == sum(not row["relevant"] for row in index) == 4
    samples = dict(read_shards(whole))
    assert list(samples) == [row["key"] for row in index] == [f"{i:08d}" for i in range(len(index))]
    for row in index:
        sample = samples[row["key"]]
        assert json.loads(sample["json"]) == row
        source, target, mask = (
            np.asarray(Image.open(io.BytesIO(sample[f"{k}.png"]))) for k in ("source", "target", "mask")
        )
        assert np.array_equal(source, make_scene(SIZE[1], SIZE[0], seed=int(row["photo"])))
        assert np.array_equal(target[mask == 0], source[mask == 0])
        assert (mask == 255).any() == row["relevant"]
    shards = sorted(p.name for p in whole.glob("triplets-*"))
    assert shards == [f"triplets-{i:06d}.tar" for i in range(6)]
    page = (whole / "samples.html").read_text()
    assert page.count("<figure>") == len(index)
    assert "artifacts in the hole</th><td>5" in page
    assert "http:" not in page
    assert "https:" not in page


def test_a_fifth_of_the_instructions_is_irrelevant_at_any_length(whole):
    index = [json.loads(line) for line in (whole / "index.jsonl").read_text().splitlines()]
    for length in range(1, len(index) + 1):
        absent = sum(not row["relevant"] for row in index[:length])
        assert absent <= 0.2 * length < absent + 1.2


class Killed(Exception):
    pass


@pytest.mark.parametrize(("after", "torn"), [(0, 0), (1, 16), (5, 0), (6, 16), (13, 7), (21, 0), (31, 0)])
def test_a_build_killed_anywhere_goes_on_to_the_same_bytes(after, torn, whole, tmp_path):
    seen = 0

    def on_entry(accepted: int, rejected: int) -> None:
        nonlocal seen
        seen = accepted + rejected
        if seen >= after:
            raise Killed

    with pytest.raises(Killed):
        build(records(), tmp_path / "set", OPTIONS, Quick, on_entry=on_entry)
    for part in (tmp_path / "set").glob("*.part"):
        with part.open("ab") as file:
            file.write(b"half a sample")
    log = tmp_path / "set" / "log.jsonl"
    log.write_bytes(log.read_bytes() + b'{"photo": 3, "sam'[:torn])
    quick = Quick()
    build(records(), tmp_path / "set", OPTIONS, lambda: quick)
    assert contents(tmp_path / "set") == contents(whole)
    assert 30 - seen <= quick.calls <= 31 - seen  # what was logged is not made again


def test_a_larger_limit_only_adds(whole, tmp_path):
    for limit in (3, 4, 10, None):
        stats = build(records(), tmp_path / "set", OPTIONS, Quick, limit=limit)
        assert stats["accepted"] == (limit or 22)
    assert contents(tmp_path / "set") == contents(whole)
    quick = Quick()
    build(records(), tmp_path / "set", OPTIONS, lambda: quick, limit=5)  # enough there already
    assert quick.calls == 0
    assert contents(tmp_path / "set") == contents(whole)


def test_nothing_is_written_over_silently(whole, tmp_path):
    with pytest.raises(InputError, match="another shard_size"):
        build(records(), whole, BuildOptions(RemovalOptions(), shard_size=5), Quick)
    with pytest.raises(InputError, match="another removal"):
        build(records(), whole, BuildOptions(RemovalOptions(seed=1), shard_size=4), Quick)
    with pytest.raises(InputError, match="another photos, annotations"):
        build(records(13), whole, OPTIONS, Quick)
    (tmp_path / "mine.txt").write_text("keep")
    (tmp_path / "README.md").write_text("mine too")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="other files"):
            build(records(), tmp_path, OPTIONS, Quick, overwrite=overwrite)
    with pytest.raises(InputError, match="folder"):
        build(records(), tmp_path / "mine.txt", OPTIONS, Quick)
    assert contents(tmp_path) == {"mine.txt": b"keep", "README.md": b"mine too"}


def test_another_seed_tries_photos_in_another_order(whole, tmp_path):
    build(records(), tmp_path / "set", BuildOptions(RemovalOptions(seed=1), shard_size=4), Quick)
    told = [
        [json.loads(line)["photo"] for line in (f / "index.jsonl").read_text().splitlines()]
        for f in (whole, tmp_path / "set")
    ]
    assert told[0] != told[1]
    assert set(told[0]) == set(told[1])


def test_hugging_face_datasets_loads_it(whole, tmp_path):
    datasets = pytest.importorskip("datasets")
    files = str(whole / "triplets-*.tar")
    rows = datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path))
    index = [json.loads(line) for line in (whole / "index.jsonl").read_text().splitlines()]
    assert [row["json"] for row in rows] == index
    assert np.array_equal(np.asarray(rows[0]["source.png"]), make_scene(SIZE[1], SIZE[0], seed=int(index[0]["photo"])))
    plain = datasets.load_dataset("json", data_files=str(whole / "index.jsonl"), split="train", cache_dir=str(tmp_path))
    assert list(plain) == index


def cli(*args: object) -> Result:
    return CliRunner().invoke(main, ["dataset", "build", *map(str, args)])


def test_the_command_builds_with_the_real_engine_and_goes_on(tmp_path):
    source = write_layout(tmp_path, "coco")
    out = tmp_path / "out"
    result = cli(source, "--out", out, "--passes", 1, "--candidates", 1, "--json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    stats = json.loads(result.stdout)
    assert stats["rejected"] == {"object not grounded": 2}  # stripes and sky hold neither cat nor dog
    assert (stats["accepted"], stats["objects_tried"]) == (0, 2)
    before = contents(out)
    result = cli(source, "--out", out, "--passes", 1, "--candidates", 1, "--device", "cpu")
    assert "2 rejected: object not grounded" in result.stdout
    assert contents(out) == before
    result = cli(source, "--out", out, "--passes", 2, "--device", "cpu")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert contents(out) == before
    assert cli(source, "--out", out, "--passes", 2, "--device", "cpu", "--overwrite").exit_code == 0


def test_paths_are_checked_before_anything_is_written(tmp_path):
    source = write_layout(tmp_path, "coco")
    for arguments in ((tmp_path / "no.json",), (tmp_path,), (source, "--images", tmp_path / "no")):
        result = cli(*arguments, "--out", tmp_path / "out")
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.output
    assert not (tmp_path / "out").exists()
