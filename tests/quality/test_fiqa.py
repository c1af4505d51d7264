"""SDD-FIQA end to end on faces made of vectors, whose quality is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import nn

from restore.errors import InputError
from restore.quality.judges.fiqa import QualityRegressor, error_versus_reject, fit_regressor, pseudo_labels, recogniser


def faces(seed: int = 0, people: int = 40, each: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(embeddings, identities, noise): an identity's direction plus noise; the noise also shows in one dimension."""
    rng = np.random.default_rng(seed)
    identities = np.repeat(np.arange(people), each)
    noise = rng.uniform(0.1, 1.6, len(identities))
    person = rng.normal(size=(people, 31)) / 31**0.5
    x = person[identities] + noise[:, None] * rng.normal(size=(len(identities), 31)) / 31**0.5
    return np.concatenate([x, 0.3 * noise[:, None]], 1), identities, noise


def test_label_of_one_face_is_the_wasserstein_distance_of_its_similarities() -> None:
    x, identities, _ = faces(people=3, each=4)
    labels = pseudo_labels(x, identities, m=3, draws=400)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    similarity = unit @ unit.T
    exact = []
    for i in range(12):
        same = similarity[i][(identities == identities[i]) & (np.arange(12) != i)]
        exact.append(wasserstein_distance(same, similarity[i][identities != identities[i]]))
    assert np.corrcoef(labels, exact)[0, 1] > 0.97
    assert (labels.min(), labels.max()) == (0, 100)


def test_labels_fall_with_noise_and_do_not_depend_on_length_or_names() -> None:
    x, identities, noise = faces()
    labels = pseudo_labels(x, identities)
    assert np.corrcoef(labels, noise)[0, 1] < -0.6
    np.testing.assert_allclose(pseudo_labels(3 * x, identities), labels, atol=1e-8)
    np.testing.assert_array_equal(pseudo_labels(x, [f"person {i}" for i in identities]), labels)


def test_lone_faces_have_no_label() -> None:
    x, identities, _ = faces(people=3, each=2)
    identities[0] = 99
    labels = pseudo_labels(x, identities)
    assert np.isnan(labels[[0, 1]]).all()
    assert np.isfinite(labels[2:]).all()
    with pytest.raises(InputError, match="strangers"):
        pseudo_labels(x, np.zeros(6))


def test_regressor_learns_quality_of_people_it_never_saw_and_beats_random_rejection() -> None:
    x, identities, _ = faces(people=30)
    fresh, others, fresh_noise = faces(seed=1)
    model = fit_regressor(x, pseudo_labels(x, identities), steps=300, hidden=32)
    quality = model.score(fresh)
    assert quality.min() >= 0
    assert quality.max() <= 100
    assert np.corrcoef(quality, fresh_noise)[0, 1] < -0.6
    ours = error_versus_reject(fresh, others, quality)
    shuffled = np.random.default_rng(0)
    rates = [error_versus_reject(fresh, others, shuffled.permutation(quality)) for _ in range(5)]
    assert ours[0] == rates[0][0]
    assert (ours[1:] < np.min(rates, axis=0)[1:]).all()
    assert ours[-1] < 0.8 * ours[0]
    again = fit_regressor(x, pseudo_labels(x, identities), steps=300, hidden=32)
    np.testing.assert_array_equal(again.score(fresh), quality)


def test_error_versus_reject_by_hand() -> None:
    # Two people on two axes; one face of the first lies with the second.
    x = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1.0]])
    identities = [0, 0, 0, 1, 1]
    rates = error_versus_reject(x, identities, np.array([9, 9, 0, 9, 9]), rejected=(0, 0.2), false_match_rate=0.5)
    # Similarities of strangers: 0, 0, 0, 0, 1, 1: the median is 0, so nothing is below the threshold.
    assert rates.tolist() == [0, 0]
    rates = error_versus_reject(x, identities, np.array([9, 9, 0, 9, 9]), rejected=(0, 0.2), false_match_rate=0.01)
    assert rates.tolist() == [0.5, 0]  # of 4 genuine pairs 2 hold the misplaced face


def test_recogniser_is_a_callable_a_module_or_an_onnx_file(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Dropout(0.9), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    batch = torch.rand(2, 3, 16, 16)
    embed = recogniser(net)
    assert embed(batch).shape == (2, 5)
    np.testing.assert_array_equal(embed(batch), embed(batch))  # evaluation mode: no dropout

    def own(images: torch.Tensor) -> np.ndarray:
        return images.mean((2, 3)).numpy()

    assert recogniser(own) is own
    with pytest.raises(InputError, match="ONNX"):
        recogniser(3)  # type: ignore[arg-type]
    pytest.importorskip("onnxruntime")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises(InputError, match="readable ONNX"):
        recogniser(broken)


def test_onnx_recogniser_is_fed_scaled_faces_of_its_size(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "mean.onnx"
    path.write_bytes(mean_network(8))
    faces_ = torch.rand(3, 3, 8, 8)
    found = recogniser(path)(faces_)
    np.testing.assert_allclose(found, (2 * faces_ - 1).mean((2, 3)).numpy(), atol=1e-6)
    larger = torch.full((1, 3, 20, 30), 0.25)
    np.testing.assert_allclose(recogniser(path)(larger), -0.5, atol=1e-6)


def mean_network(side: int) -> bytes:
    """GlobalAveragePool of (N, 3, side, side) as an ONNX file, written by hand (protocol buffers)."""

    def field(number: int, value: bytes | int) -> bytes:
        if isinstance(value, int):
            return bytes([number << 3]) + varint(value)
        return bytes([number << 3 | 2]) + varint(len(value)) + value

    def varint(value: int) -> bytes:
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    def tensor(name: str, shape: list[int | str]) -> bytes:
        dims = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d.encode())) for d in shape)
        return field(1, name.encode()) + field(2, field(1, field(1, 1) + field(2, dims)))

    node = field(1, b"x") + field(2, b"y") + field(4, b"GlobalAveragePool")
    graph = field(1, node) + field(2, b"g")
    graph += field(11, tensor("x", ["n", 3, side, side])) + field(12, tensor("y", ["n", 3, 1, 1]))
    return field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13))


def test_regressor_refuses() -> None:
    with pytest.raises(InputError, match="finite labels"):
        fit_regressor(np.zeros((3, 2)), np.full(3, np.nan))
    assert QualityRegressor(4)(torch.zeros(2, 4)).shape == (2,)
