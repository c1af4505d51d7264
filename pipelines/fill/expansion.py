"""α-expansion with exact moves (Boykov, Veksler & Zabih, TPAMI 2001) on the pixels of a hole.

The seam cost V(a, b) = ‖S_a(p) − S_b(p)‖ + ‖S_a(q) − S_b(q)‖ between neighbours p, q is a metric, so
each move is one minimum cut. Most pixels are decided before it: a pixel whose own preference
outweighs all its links has the same value in every optimum, and is folded into its neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

Float = NDArray[np.floating]
Bool = NDArray[np.bool_]
Int = NDArray[np.integer]

UNITS = 1 << 14  # integer capacity of a cost of 1
ROUNDS = 6  # of settling clear pixels before the cut: each costs little, but they help less and less
TRIED = 56  # labels expanded at most: with a third of the usual 150 it takes 0.7 of the time, for 0.07 % more energy;
AMONG = 3  # the labels that most pixels have among so many cheapest
FORBIDDEN = np.float32(1e4)  # unary of a label without a source; larger than any sum of seams at a pixel


class Expansion:
    """Labels of n pixels (the True pixels of `mask`, row by row) among k candidates.

    colour (k, n, 3): what each label brings; unary (k, n) ≥ 0; allowed (k, n).
    """

    def __init__(self, mask: Bool, colour: Float, unary: Float, allowed: Bool) -> None:
        self.colour, self.allowed = colour, allowed
        self.unary = np.where(allowed, unary, FORBIDDEN).astype(np.float32)
        index = np.full(mask.shape, -1, np.int32)
        index[mask] = np.arange(mask.sum())
        pairs = [(index[:, :-1], index[:, 1:]), (index[:-1], index[1:])]
        self.p = np.concatenate([a[(a >= 0) & (b >= 0)] for a, b in pairs])
        self.q = np.concatenate([b[(a >= 0) & (b >= 0)] for a, b in pairs])
        self.count = colour.shape[1]
        self.seen: Int | None = None  # the labels that the four arrays below belong to
        self.own = self.own_at_p = self.own_at_q = self.v00 = np.empty(0, np.float32)

    def run(
        self, sweeps: int, rng: np.random.Generator | None = None, among: Int | None = None, start: Int | None = None
    ) -> tuple[Int, float]:
        """Expand every label `sweeps` times; returns labels and their energy.

        among: the labels to expand, ascending, None for all; start (n,): labels to start from, None for the cheapest
        unaries.
        """
        among = np.arange(len(self.unary)) if among is None else among
        labels = (among[self.unary[among].argmin(0)] if start is None else start).astype(np.int32)
        order = self._promising(among)
        for _ in range(sweeps):
            changed = [a for a in (order if rng is None else rng.permutation(order)) if self.expand(labels, int(a))]
            if not changed:
                break
            order = np.array(changed)
        return labels, self.energy(labels)

    def _promising(self, among: Int) -> Int:
        """Labels of `among` worth an expansion, ascending."""
        allowed: Bool = np.any(self.allowed[among], axis=1)
        if allowed.sum() > TRIED:
            cheap = np.argpartition(self.unary[among], AMONG, axis=0)[:AMONG]
            votes = np.where(allowed, np.bincount(cheap.ravel(), minlength=len(allowed)), -1)
            allowed[np.argsort(-votes, kind="stable")[TRIED:]] = False
        return among[allowed]

    def energy(self, labels: Int) -> float:
        return float(self.unary[labels, np.arange(self.count)].sum() + self._seams(labels)[0].sum())

    def seam_cost(self, labels: Int) -> NDArray[np.float64]:
        """Each pixel's half of the seams it takes part in (n,)."""
        half = self._seams(labels)[0] / 2
        return self._to_nodes(half, half)

    def expand(self, labels: Int, alpha: int) -> bool:
        """Give `alpha` to the set of pixels that lowers the energy most (in place); False if there is none."""
        free = self.allowed[alpha] & (labels != alpha)
        if not free.any():
            return False
        cost, live, link = self._move(labels, alpha, free)
        taken = cheapest(cost, self.p[live], self.q[live], link, free)
        labels[taken] = alpha
        return bool(taken.any())

    def _seams(self, labels: Int) -> tuple[Float, Float, Float]:
        """V of each link (e,), and what each end's label brings to the other end (e, 3): p's to q q's to p."""
        a, b = labels[self.p], labels[self.q]
        there, back = self.colour[a, self.q], self.colour[b, self.p]
        own = self.colour[labels, np.arange(self.count)]
        return _norm(own[self.p] - back) + _norm(there - own[self.q]), there, back

    def _to_nodes(self, at_p: NDArray[np.floating], at_q: NDArray[np.floating]) -> NDArray[np.float64]:
        sums = np.bincount(self.p, at_p, self.count) + np.bincount(self.q, at_q, self.count)
        return sums.astype(np.float64, copy=False)  # float64 already, as bincount's is with weights

    def _move(
        self, labels: Int, alpha: int, free: Bool
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """The move as a cost of taking alpha (n,) plus, of the links whose ends are free, index and cost if unequal.

        Whole numbers, in UNITS. With x = 1 for taking, V(x_p, x_q) has V11 = 0, so up to a constant it is
        (V10 - V01 - V00)/2 · x_p + (V01 - V10 - V00)/2 · x_q + (V01 + V10 - V00)/2 · [x_p ≠ x_q].
        """
        p, q, nodes = self.p, self.q, np.arange(self.count)
        if self.seen is None or not np.array_equal(labels, self.seen):
            # What depends on the labels alone outlives idle expansions.
            self.seen, self.own = labels.copy(), self.colour[labels, nodes]
            self.v00, self.own_at_q, self.own_at_p = self._seams(labels)
        new = self.colour[alpha]
        apart = _norm(self.own - new)
        v00 = self.v00
        v01 = apart[p] + _norm(self.own_at_q - new[q])
        v10 = apart[q] + _norm(self.own_at_p - new[p])
        both, one = free[p] & free[q], free[p] ^ free[q]
        at_p = np.where(both, (v10 - v01 - v00) / 2, np.where(one, v10 - v00, 0))
        at_q = np.where(both, (v01 - v10 - v00) / 2, np.where(one, v01 - v00, 0))
        cost = self.unary[alpha] - self.unary[labels, nodes] + self._to_nodes(at_p, at_q)
        live = np.flatnonzero(both)
        link = np.rint(np.maximum(v01 + v10 - v00, 0)[live] * (UNITS / 2)).astype(np.float64)
        return np.rint(cost * UNITS), live[link > 0], link[link > 0]


def cheapest(cost: NDArray[np.float64], p: Int, q: Int, link: NDArray[np.float64], free: Bool) -> Bool:
    """The set of `free` pixels (n,) that lowers the sum of its `cost` (n,) and of the `link` (e,) ≥ 0 of every pair
    p, q it parts the most; whole numbers. Links join free pixels only; of equal sets the smallest. `cost` is spent.

    Pixels that outweigh all their links are settled first, for a few rounds, and folded into their neighbours.
    """
    count = len(cost)
    open_, taken = free.copy(), np.zeros_like(free)
    for _ in range(ROUNDS):
        links = np.bincount(p, link, count) + np.bincount(q, link, count)
        take = open_ & (cost < 0) & (-cost >= links)
        settled = take | (open_ & (cost >= links))
        taken |= take
        open_ &= ~settled
        toll = np.where(take, -1.0, 1.0) * settled
        cost += np.bincount(p, link * toll[q], count) + np.bincount(q, link * toll[p], count)
        keep = ~(settled[p] | settled[q])
        p, q, link = p[keep], q[keep], link[keep]
        if not (open_ & (cost < 0)).any():
            return taken
        if settled.sum() < open_.sum() / 50:
            break
    if open_.any():
        index = np.cumsum(open_) - 1
        taken[np.flatnonzero(open_)[_cut(cost[open_], index[p], index[q], link)]] = True
    return taken


def _cut(own: NDArray[np.float64], p: Int, q: Int, link: NDArray[np.float64]) -> Int:
    """Which of n pixels lie on the source side of the minimum cut that takes pixels of negative cost `own` (n,)."""
    nodes = len(own)
    size, source, sink = nodes + 2, nodes, nodes + 1
    wants, minds = np.flatnonzero(own < 0), np.flatnonzero(own > 0)
    begin, end = np.full(len(wants), source), np.full(len(minds), sink)
    # Every link with its reverse and in order: SciPy's wrappers would spend longer on that than on the flow.
    rows = np.concatenate([p, q, begin, wants, minds, end])
    columns = np.concatenate([q, p, wants, begin, end, minds])
    idle = (np.zeros(len(wants)), np.zeros(len(minds)))
    capacity = np.concatenate([link, link, -own[wants], idle[0], own[minds], idle[1]])
    order = np.argsort(rows * size + columns)
    columns = columns[order].astype(np.int32)
    starts = _starts(rows, size)
    graph = csr_array((capacity[order].astype(np.int32), columns, starts), shape=(size, size))
    flow = maximum_flow(graph, source, sink, method="dinic").flow
    left = graph.data > flow.data
    residual = csr_array((left[left], columns[left], _starts(rows[order][left], size)), shape=(size, size))
    reached = breadth_first_order(residual, source, return_predecessors=False)
    return np.asarray(reached[reached < nodes])


def _starts(rows: Int, size: int) -> NDArray[np.int32]:
    """Where each row begins among entries ordered by row (CSR's `indptr`)."""
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=size))]).astype(np.int32)


def _norm(difference: Float) -> Float:
    return np.sqrt(np.einsum("ij,ij->i", difference, difference))
