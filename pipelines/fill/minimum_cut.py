"""Which pixels to take: a minimum cut by Dinic's algorithm (Soviet Math. Doklady 1970), after settling what is clear.

Of all minimum cuts the smallest source side is unique: whatever computes it, the answer is the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from restore.pipelines.fill.compiled import compiled

Bool = NDArray[np.bool_]
Int = NDArray[np.integer]
Whole = NDArray[np.int64]


@compiled
def cheapest(cost: Whole, p: Int, q: Int, link: Whole, free: Bool) -> Bool:
    """The set of `free` pixels (n,) that lowers the sum of its `cost` (n,) and of the `link` (e,) ≥ 0 of every pair
    p, q it parts the most; of equal sets the smallest. Links join different free pixels. `cost` is spent.
    """
    first, end, room, twin = _arcs(len(cost), p, q, link)
    taken, open_ = _settled(cost, first, end, room, free)
    for v in range(len(cost)):
        if not open_[v]:
            cost[v] = 0
            for a in range(first[v], first[v + 1]):
                room[a] = room[twin[a]] = 0
    surplus = -cost  # what a pixel gains by being taken, to be carried to those that mind
    _flow(surplus, first, end, room, twin)
    reached = taken
    stack = np.empty(len(cost), np.int64)
    for v in range(len(cost)):
        if surplus[v] <= 0 or reached[v]:
            continue
        reached[v], stack[0], depth = True, v, 1
        while depth:
            depth -= 1
            u = stack[depth]
            for a in range(first[u], first[u + 1]):
                if room[a] > 0 and not reached[end[a]]:
                    reached[end[a]] = True
                    stack[depth] = end[a]
                    depth += 1
    return reached


@compiled
def _arcs(count: int, p: Int, q: Int, link: Whole) -> tuple[Whole, Whole, Whole, Whole]:
    """Both directions of every link: pixel v has the arcs first[v] to first[v + 1], each with its end, its room and
    the arc back."""
    first = np.zeros(count + 1, np.int64)
    for e in range(len(p)):
        first[p[e] + 1] += 1
        first[q[e] + 1] += 1
    first = np.cumsum(first)
    place = first[:-1].copy()
    end, room, twin = np.empty(2 * len(p), np.int64), np.empty(2 * len(p), np.int64), np.empty(2 * len(p), np.int64)
    for e in range(len(p)):
        there, back = place[p[e]], place[q[e]]
        place[p[e]] += 1
        place[q[e]] += 1
        end[there], room[there], twin[there] = q[e], link[e], back
        end[back], room[back], twin[back] = p[e], link[e], there
    return first, end, room, twin


@compiled
def _settled(cost: Whole, first: Whole, end: Whole, room: Whole, free: Bool) -> tuple[Bool, Bool]:
    """Pixels taken, and those still open, after settling every pixel whose cost outweighs all its open links.

    It has the same value in every smallest optimum, and is folded into its neighbours' costs, which may settle them.
    """
    count = len(cost)
    taken, open_, queued = np.zeros(count, np.bool_), free.copy(), free.copy()
    links, stack, depth = np.zeros(count, np.int64), np.empty(count, np.int64), 0
    for v in range(count):
        for a in range(first[v], first[v + 1]):
            links[v] += room[a]
        if free[v]:
            stack[depth] = v
            depth += 1
    while depth:
        depth -= 1
        v = stack[depth]
        queued[v] = False
        if -cost[v] > links[v]:
            taken[v] = True
        elif cost[v] < links[v]:
            continue
        open_[v] = False
        for a in range(first[v], first[v + 1]):
            u = end[a]
            if open_[u]:
                cost[u] += -room[a] if taken[v] else room[a]
                links[u] -= room[a]
                if not queued[u]:
                    queued[u], stack[depth] = True, u
                    depth += 1
    return taken, open_


@compiled
def _flow(surplus: Whole, first: Whole, end: Whole, room: Whole, twin: Whole) -> None:
    """Carry as much surplus as the arcs have room for to pixels where it is negative; `surplus` and `room` are left
    as what remains."""
    count = len(surplus)
    level, queue = np.empty(count, np.int64), np.empty(count, np.int64)
    arc, path = np.empty(count, np.int64), np.empty(count, np.int64)
    while _levels(level, queue, surplus, first, end, room, twin):
        arc[:] = first[:-1]
        for start in range(count):
            v, depth = start, 0
            while surplus[start] > 0 and level[start] < count:
                if surplus[v] < 0:
                    v, depth = _push(start, path[:depth], surplus, end, room, twin)
                    continue
                while arc[v] < first[v + 1] and (room[arc[v]] == 0 or level[end[arc[v]]] + 1 != level[v]):
                    arc[v] += 1
                if arc[v] < first[v + 1]:
                    path[depth] = arc[v]
                    v = end[arc[v]]
                    depth += 1
                else:  # a dead end for the rest of this round
                    level[v] = count
                    if depth:
                        depth -= 1
                        v = end[twin[path[depth]]]


@compiled
def _levels(level: Whole, queue: Whole, surplus: Whole, first: Whole, end: Whole, room: Whole, twin: Whole) -> bool:
    """Steps from every pixel to the nearest one of negative surplus along arcs with room, the count of pixels where
    there is no way; whether any surplus has a way."""
    level[:] = len(level)
    tail, done, way = 0, 0, False
    for v in range(len(level)):
        if surplus[v] < 0:
            level[v], queue[tail] = 0, v
            tail += 1
    while done < tail:
        v = queue[done]
        done += 1
        way |= surplus[v] > 0
        for a in range(first[v], first[v + 1]):
            if room[twin[a]] > 0 and level[end[a]] == len(level):
                level[end[a]], queue[tail] = level[v] + 1, end[a]
                tail += 1
    return way


@compiled
def _push(start: int, path: Whole, surplus: Whole, end: Whole, room: Whole, twin: Whole) -> tuple[int, int]:
    """Carry what there is room for along the arcs of a path from `start`; the pixel and depth from which to go on."""
    last = end[path[-1]]
    amount = min(surplus[start], -surplus[last])
    for a in path:
        amount = min(amount, room[a])
    surplus[start] -= amount
    surplus[last] += amount
    v, depth, full = start, 0, False
    for i, a in enumerate(path):
        room[a] -= amount
        room[twin[a]] += amount
        if room[a] == 0 and not full:
            v, depth, full = end[twin[a]], i, True
    return v, depth
