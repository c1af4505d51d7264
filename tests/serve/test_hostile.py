"""Some of the hostile requests of benchmarks/serve_hostile.py, and what must be true of each answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from benchmarks.serve_hostile import attack, strike


def test_hostile_requests_are_refused_in_form(server):
    port, secret = int(server.url.rpartition(":")[2]), str(server.log.parent)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda index: strike(port, attack(7, index), secret), range(120)))
    assert [wrong for _, wrong in found if wrong] == []
    assert {"200", "400", "403", "404"} <= {status for status, _ in found}
    assert server.ask("/ready")[0] == 200
