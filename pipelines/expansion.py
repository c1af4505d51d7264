"""α-expansion with exact moves (Boykov, Veksler & Zabih, TPAMI 2001) on the pixels of a hole.

The seam cost V(a, b) = ‖S_a(p) − S_b(p)‖ + ‖S_a(q) − S_b(q)‖ between neighbours p, q is a metric, so
each move is one minimum cut. Most pixels are decided before it: a pixel whose own preference
outweighs all its links has the same value in every optimum, and is folded into its neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Int = NDArray[np.int32]

UNITS = 1 << 14  # integer capacity of a cost of 1
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

    def run(self, sweeps: int, rng: np.random.Generator | None = None) -> tuple[Int, float]:
        """Expand every label `sweeps` times, from the cheapest unary on; returns the labels and their energy."""
        labels = self.unary.argmin(0).astype(np.int32)
        order = np.flatnonzero(self.allowed.any(1))
        for _ in range(sweeps):
            changed = [a for a in (order if rng is None else rng.permutation(order)) if self.expand(labels, a)]
            if not changed:
                break
            order = np.array(changed)
        return labels, self.energy(labels)

    def energy(self, labels: Int) -> float:
        return float(self.unary[labels, np.arange(self.count)].sum() + self._seams(labels, labels).sum())

    def seam_cost(self, labels: Int) -> Float:
        """Each pixel's half of the seams it takes part in (n,)."""
        half = self._seams(labels, labels) / 2
        return self._to_nodes(half, half)

    def expand(self, labels: Int, alpha: int) -> bool:
        """Give `alpha` to the set of pixels that lowers the energy most (in place); False if there is none."""
        free = self.allowed[alpha] & (labels != alpha)
        if not free.any():
            return False
        cost, link = self._move(labels, alpha, free)
        taken, open_ = self._decide(cost, link, free)
        if open_.any():
            self._cut(cost, link, taken, open_)
        labels[taken] = alpha
        return bool(taken.any())

    def _seams(self, a: Int, b: Int) -> Float:
        """V(a_p, b_q) of every link (p, q)."""
        difference = self.colour[a[self.p], self.p] - self.colour[b[self.q], self.p]
        other = self.colour[a[self.p], self.q] - self.colour[b[self.q], self.q]
        return _norm(difference) + _norm(other)

    def _to_nodes(self, at_p: NDArray[np.floating], at_q: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.bincount(self.p, at_p, self.count) + np.bincount(self.q, at_q, self.count)

    def _move(self, labels: Int, alpha: int, free: Bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The move as a cost of taking alpha (n,) plus a cost of each link (e,) whose ends then differ.

        Whole numbers, in UNITS. With x = 1 for taking, V(x_p, x_q) has V11 = 0, so up to a constant it is
        (V10 - V01 - V00)/2 · x_p + (V01 - V10 - V00)/2 · x_q + (V01 + V10 - V00)/2 · [x_p ≠ x_q].
        """
        p, q = self.p, self.q
        new = np.full_like(labels, alpha)
        both, one = free[p] & free[q], free[p] ^ free[q]
        v00, v01, v10 = self._seams(labels, labels), self._seams(labels, new), self._seams(new, labels)
        at_p = np.where(both, (v10 - v01 - v00) / 2, np.where(one, v10 - v00, 0))
        at_q = np.where(both, (v01 - v10 - v00) / 2, np.where(one, v01 - v00, 0))
        nodes = np.arange(self.count)
        cost = self.unary[alpha] - self.unary[labels, nodes] + self._to_nodes(at_p, at_q)
        link = np.where(both, np.maximum(v01 + v10 - v00, 0) / 2, 0)
        return np.rint(cost * UNITS), np.rint(link * UNITS)

    def _decide(self, cost: NDArray[np.float64], link: NDArray[np.float64], free: Bool) -> tuple[Bool, Bool]:
        """Settle pixels that outweigh all their links, folding them into `cost` and `link` (in place).

        Returns which pixels take the label, and which are still open.
        """
        p, q = self.p, self.q
        open_, taken = free.copy(), np.zeros_like(free)
        while (open_ & (cost < 0)).any():
            links = self._to_nodes(link, link)
            take = open_ & (cost < 0) & (-cost >= links)
            settled = take | (open_ & (cost >= links))
            if not settled.any():
                return taken, open_
            taken |= take
            open_ &= ~settled
            toll = np.where(take, -1.0, 1.0)
            cost += self._to_nodes(link * toll[q] * settled[q], link * toll[p] * settled[p])
            link[settled[p] | settled[q]] = 0
        return taken, np.zeros_like(open_)

    def _cut(self, cost: NDArray[np.float64], link: NDArray[np.float64], taken: Bool, open_: Bool) -> None:
        """Settle the open pixels by minimum cut: the source side takes the label."""
        index = np.cumsum(open_) - 1
        nodes = int(index[-1]) + 1
        source, sink = nodes, nodes + 1
        live = link > 0
        p, q, both = index[self.p[live]], index[self.q[live]], link[live]
        own = cost[open_]
        wants, minds = np.flatnonzero(own < 0), np.flatnonzero(own > 0)
        rows = np.concatenate([p, q, np.full_like(wants, source), minds])
        columns = np.concatenate([q, p, wants, np.full_like(minds, sink)])
        capacity = np.concatenate([both, both, -own[wants], own[minds]]).astype(np.int32)
        graph = csr_array(coo_array((capacity, (rows, columns)), shape=(nodes + 2, nodes + 2)))
        flow = maximum_flow(graph, source, sink, method="dinic").flow
        residual = csr_array(graph - flow)
        residual.eliminate_zeros()
        reached = breadth_first_order(residual, source, return_predecessors=False)
        where = np.flatnonzero(open_)
        taken[where[reached[reached < nodes]]] = True


def _norm(difference: Float) -> Float:
    return np.sqrt(np.einsum("ij,ij->i", difference, difference))
