"""The page with large photos in a real browser: time to load, of a brush move, of the mask, of a closer look.

python -m benchmarks.serve_page
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.conftest import make_scene
from tests.serving import ready, start

SIZES = {"12 MP": (4000, 3000), "48 MP": (8000, 6000)}
TICK = os.sysconf("SC_CLK_TCK")
START = """async () => {
  window.made = { ...(await import("/page/view.js")), ...(await import("/page/marks.js")) };
  window.canvas = () => document.createElement("canvas"); }"""
STEPS = {
    "load": """async () => {
      window.layer = new made.Layer(canvas(), canvas());
      window.size = await layer.show(document.getElementById("open").files[0]);
      layer.canvas.getContext("2d").getImageData(0, 0, 1, 1); } // what was drawn is there""",
    "500 moves": """() => {
      window.marks = new made.Marks(canvas());
      marks.start(size, layer.scale);
      marks.add({ kind: "stroke", points: [size.width / 4, size.height / 4], size: size.width / 25, erase: false });
      for (let i = 0; i < 500; i++)
        marks.extend(size.width / 4 + (i % 100) * size.width / 250, size.height / 4 + i * size.height / 1000);
      marks.context.getImageData(0, 0, 1, 1); }""",
    "mask": "async () => { await marks.png(); }",
    "mask, inverted": "async () => { marks.add({ kind: 'invert' }); await marks.png(); }",
    "closer look": "async () => { await layer.closer({ x: .4, y: .4, w: .1, h: .1 }, 1000, () => true); }",
}


def cpu(root: int, without: int) -> float:
    """Seconds of all processes that come from `root`, but not of `without` and its own."""
    fields = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
    ours, found = 0.0, {root}
    while found:
        ours += sum(int(fields[pid][11]) + int(fields[pid][12]) for pid in found if pid in fields and pid != root)
        found = {pid for pid, f in fields.items() if int(f[1]) in found and pid != without}
    return ours / TICK


def main() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        server = ready(start(Path(folder) / "state"))
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, size in SIZES.items():
            buffer = io.BytesIO()
            Image.fromarray(make_scene(1500, 2000)).resize(size).save(buffer, "JPEG", quality=90)
            path = Path(folder) / "photo.jpg"
            path.write_bytes(buffer.getvalue())
            page = browser.new_page()
            page.goto(server.url)
            page.evaluate("addEventListener('change', (e) => e.stopPropagation(), true)")  # the page itself rests
            page.set_input_files("#open", path)
            page.evaluate(START)
            found = {}
            for step, script in STEPS.items():
                used, begun = cpu(os.getpid(), server.process.pid), time.perf_counter()
                page.evaluate(script)
                wall = time.perf_counter() - begun
                found[step] = {"wall": round(wall, 2), "cpu": round(cpu(os.getpid(), server.process.pid) - used, 2)}
            print(name, f"{len(buffer.getvalue()) >> 20} MB", json.dumps(found))
            page.close()
        browser.close()
        server.end()


if __name__ == "__main__":
    main()
