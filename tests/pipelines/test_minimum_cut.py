"""The cut against every subset, and against SciPy's maximum flow on graphs too large for that."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from restore.pipelines.fill.minimum_cut import cheapest

Graph = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def grid(rng: np.random.Generator, h: int, w: int, cost: int, link: int) -> Graph:
    """Costs, pairs of neighbours, links and free pixels of a grid; whole numbers, so that ties are common."""
    at = np.arange(h * w).reshape(h, w)
    p = np.concatenate([at[:, :-1].ravel(), at[:-1].ravel()])
    q = np.concatenate([at[:, 1:].ravel(), at[1:].ravel()])
    free = rng.random(h * w) < 0.9
    live = free[p] & free[q]
    links = rng.integers(0, link + 1, live.sum())
    return rng.integers(-cost, cost + 1, h * w), p[live], q[live], links, free


def price(taken: np.ndarray, cost: np.ndarray, p: np.ndarray, q: np.ndarray, link: np.ndarray) -> int:
    return int(cost[taken].sum() + link[taken[p] != taken[q]].sum())


@pytest.mark.parametrize("seed", range(60))
def test_the_smallest_of_the_cheapest_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost, p, q, link, free = grid(rng, 3, 3, 6, rng.integers(1, 6))
    sets = [np.array(bits) & free for bits in itertools.product([False, True], repeat=9)]
    best = min(price(taken, cost, p, q, link) for taken in sets)
    smallest = min((taken for taken in sets if price(taken, cost, p, q, link) == best), key=np.sum)
    assert np.array_equal(cheapest(cost.copy(), p, q, link, free), smallest)


@pytest.mark.parametrize(
    ("h", "w", "cost", "link"), [(40, 50, 99, 60), (25, 25, 9, 9), (1, 300, 50, 80), (60, 8, 20, 12)]
)
def test_scipy_finds_the_same(h: int, w: int, cost: int, link: int) -> None:
    own, p, q, links, free = grid(np.random.default_rng(h), h, w, cost, link)
    own[~free] = 0
    nodes = h * w
    wants, minds = np.flatnonzero(own < 0), np.flatnonzero(own > 0)
    rows = np.concatenate([p, q, np.full(len(wants), nodes), minds])
    columns = np.concatenate([q, p, wants, np.full(len(minds), nodes + 1)])
    room = np.concatenate([links, links, -own[wants], own[minds]]).astype(np.int32)
    graph = csr_array((room, (rows, columns)), shape=(nodes + 2, nodes + 2))
    left = graph - maximum_flow(graph, nodes, nodes + 1).flow
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    reached = breadth_first_order(left, nodes, return_predecessors=False)
    expected = np.zeros(nodes, bool)
    expected[reached[reached < nodes]] = True
    assert expected.any()
    assert np.array_equal(cheapest(own.copy(), p, q, links, free), expected)


def test_nothing_to_take_and_nothing_to_lose() -> None:
    none = np.zeros(0, np.int64)
    free = np.array([True, True, False])
    assert not cheapest(np.array([0, 3, -5]), none, none, none, free).any()
    assert cheapest(np.array([-1, 0, -5]), none, none, none, free).tolist() == [True, False, False]
