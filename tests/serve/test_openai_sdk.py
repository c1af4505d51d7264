"""OpenAI's Python client, unchanged, against the server."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.conftest import make_scene
from tests.serving import pixels, png

openai = pytest.importorskip("openai")
QUICK = {"draft": True}


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none is needed", max_retries=0) as made:
        yield made


def decoded(image):
    return pixels(base64.b64decode(image.b64_json))


def test_every_way_to_hand_over_a_photo_gives_the_same_edit(client, photo, mask, alpha_mask, hole_mask, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(photo)
    ways = [path, photo, io.BytesIO(photo), [photo], ("named.jpg", photo, "image/jpeg")]
    found = []
    for image, given in zip(ways, [mask, mask, alpha_mask, alpha_mask, mask], strict=True):
        answer = client.images.edit(
            image=image, mask=given, prompt="remove this", model="gpt-image-1", extra_body=QUICK
        )
        found.append(decoded(answer.data[0]))
    scene = make_scene()
    for one in found:
        assert np.array_equal(one, found[0])
        assert np.array_equal(one[~hole_mask], scene[~hole_mask])
        assert not np.array_equal(one[hole_mask], scene[hole_mask])
    assert answer.size == "200x160"
    assert answer.output_format == "png"
    assert answer.restore["model"] == "builtin"
    assert answer.restore["asked"] == "gpt-image-1"
    assert answer.restore["results"][0]["mask"]["pixels"] == int(hole_mask.sum())


def test_the_server_gives_the_pixels_that_the_library_gives(client, engine, photo, mask, hole_mask):
    options = {"passes": 1, "candidates": 1, "seed": 3}
    answer = client.images.edit(image=photo, mask=mask, prompt="", extra_body=options)
    expected = engine.inpaint(make_scene(), mask=hole_mask, **options)
    assert np.array_equal(decoded(answer.data[0]), expected.image)
    (told,) = answer.restore["results"]
    assert told["seed"] == 3
    assert told["stop"] == expected.stop
    assert told["passes"][0]["par_hole"] == pytest.approx(expected.passes[0].par_hole)


def test_variants_differ(client, photo, mask, hole_mask):
    answer = client.images.edit(image=photo, mask=mask, prompt="", n=2, extra_body={"passes": 1, "candidates": 1})
    first, second = (decoded(image) for image in answer.data)
    assert not np.array_equal(first[hole_mask], second[hole_mask])
    assert np.array_equal(first[~hole_mask], second[~hole_mask])


def test_the_stream_tells_kept_passes_and_the_result(client, photo, mask, hole_mask):
    options = {"passes": 3, "candidates": 1, "par": 0}
    asked = {"image": photo, "mask": mask, "prompt": "", "extra_body": options}
    *partial, last = client.images.edit(**asked, stream=True, partial_images=2)
    assert last.type == "image_edit.completed"
    assert last.usage.total_tokens == 0
    assert 1 <= len(partial) <= 2
    assert [p.partial_image_index for p in partial] == list(range(len(partial)))
    kept = [p for p in last.restore["results"][0]["passes"] if p["accepted"]]
    if len(kept) <= 2:
        assert np.array_equal(decoded(partial[-1]), decoded(last))
    whole = client.images.edit(**asked)
    assert np.array_equal(decoded(whole.data[0]), decoded(last))
    assert all(np.array_equal(decoded(p)[~hole_mask], make_scene()[~hole_mask]) for p in partial)


def test_formats(client, photo, mask):
    for kind, magic in (("jpeg", b"\xff\xd8"), ("webp", b"RIFF"), ("png", b"\x89PNG")):
        answer = client.images.edit(image=photo, mask=mask, prompt="", output_format=kind, extra_body=QUICK)
        assert base64.b64decode(answer.data[0].b64_json).startswith(magic)
        assert answer.output_format == kind
    sizes = [
        len(client.images.edit(image=photo, mask=mask, prompt="", output_format="jpeg", output_compression=c,
                               extra_body=QUICK).data[0].b64_json)
        for c in (10, 95)
    ]  # fmt: skip
    assert sizes[0] < sizes[1] / 2
    url = client.images.edit(image=photo, mask=mask, prompt="", response_format="url", extra_body=QUICK).data[0].url
    assert url.startswith("data:image/png;base64,")


def test_models(client):
    assert [model.id for model in client.models.list()] == ["builtin"]
    assert client.models.retrieve("builtin").owned_by == "restore"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-image-1")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"image": b"no picture at all"}, "image"),
        ({"image": b"\x89PNG\r\n\x1a\n cut off"}, "image"),
        ({"mask": png(np.zeros((20, 20), np.uint8))}, "mask"),
        ({"size": "1024x1024"}, "size"),
        ({"n": 11}, "n"),
        ({"output_format": "gif"}, "output_format"),
        ({"extra_body": {"seed": "many"}}, "seed"),
        ({"extra_body": {"box": "1,2"}}, "box"),
        ({"mask": None, "prompt": "turn it into a painting"}, "prompt"),
        ({"mask": None, "prompt": "remove this"}, "prompt"),
        ({"image": [b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n"]}, "image"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(client, photo, mask, changes, param):
    asked = {"image": photo, "mask": mask, "prompt": ""} | changes
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.edit(**{k: v for k, v in asked.items() if v is not None})
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"
    assert "/" not in refused.value.body["message"]


def test_an_object_that_is_not_there(client, photo):
    with pytest.raises(openai.UnprocessableEntityError, match="expected 'cat'") as refused:
        client.images.edit(image=photo, prompt="remove the cat")
    assert refused.value.code == "object_not_found"


def test_an_error_inside_the_stream_is_raised(client, photo, mask):
    with pytest.raises(openai.APIError, match="expected 'cat'"):
        list(client.images.edit(image=photo, prompt="remove the cat", stream=True))


def test_keys_and_retries(strict, photo, mask):
    """One place in the queue: who does not retry is refused, who does is served in the end."""
    url = f"{strict.url}/v1"

    def edit(retries: int) -> object:
        with openai.OpenAI(base_url=url, api_key="s3cret", max_retries=retries) as client:
            return client.images.edit(image=photo, mask=mask, prompt="", extra_body={"passes": 1, "candidates": 1})

    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
    with ThreadPoolExecutor(4) as pool:
        patient = [pool.submit(edit, 10)]
        refused = [f.exception() for f in [pool.submit(edit, 0) for _ in range(3)]]
        assert any(isinstance(error, openai.RateLimitError) for error in refused)
        assert all(error is None or isinstance(error, openai.RateLimitError) for error in refused)
        assert all(f.result().data[0].b64_json for f in patient)
