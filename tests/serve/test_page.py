"""The page in a real browser, as people use it."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from skimage.data import rocket

from tests.conftest import make_scene
from tests.serving import pixels

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as play:
        launched = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser, server) -> Iterator[object]:
    """The page, which may ask nobody but the server and throw nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    shown = context.new_page()
    asked: list[str] = []
    faults: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.on("pageerror", lambda error: faults.append(str(error)))
    shown.on("console", lambda message: faults.append(message.text) if message.type == "warning" else None)
    shown.goto(server.url)
    yield shown
    context.close()
    assert all(url.startswith((server.url, "blob:")) for url in asked)
    assert not faults


def photo_file(height: int, width: int, kind: str = "JPEG") -> bytes:
    """A photo with metadata that must come back."""
    small = Image.fromarray(make_scene()).resize((width, height))
    exif = Image.Exif()
    exif[0x010E] = "what it shows"
    buffer = io.BytesIO()
    small.save(buffer, kind, exif=exif)
    return buffer.getvalue()


def load(page, content: bytes, name: str = "holiday.jpg") -> None:
    page.set_input_files("#open", {"name": name, "mimeType": "image/jpeg", "buffer": content})
    page.wait_for_selector("#world:not([hidden])")


def stroke(page, *shares: tuple[float, float]) -> None:
    """Draw through places of the photo, as shares of its sides."""
    box = page.locator("#before").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in shares]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def mask_of(page) -> np.ndarray:
    """The mask as the page would send it."""
    data = page.evaluate(
        """async () => {
          const { Marks } = await import("/page/marks.js"), png = Marks.prototype.png;
          const seen = new Promise((done) => { Marks.prototype.png = async function () {
            Marks.prototype.png = png;
            done([...new Uint8Array(await (await this.png()).arrayBuffer())]);
            return new Promise(() => {}); }; }); // and nothing is sent
          document.getElementById("ask").requestSubmit();
          return await seen; }"""
    )
    return pixels(bytes(data)).astype(bool)


def downloaded(page, button: str) -> tuple[str, bytes]:
    with page.expect_download() as waiting:
        page.click(button)
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


def test_brush_undo_run_compare_and_download(page):
    sent = photo_file(320, 400, "PNG")
    load(page, sent, "holiday.png")
    assert page.locator("#facts").inner_text() == "holiday.png, 400 × 320"
    assert page.locator("#run").is_disabled()
    for _ in range(5):
        page.keyboard.press("]")
    stroke(page, (0.2, 0.8), (0.3, 0.8))
    stroke(page, (0.45, 0.5), (0.6, 0.6))
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    page.keyboard.press("Control+z")
    page.check("#draft")
    page.click("#run")
    page.wait_for_selector("#results:not([hidden])", timeout=60_000)
    assert "Done" in page.locator("#say").inner_text()
    assert re.search(r"PAR \d", page.locator("#thumbs").inner_text())
    name, content = downloaded(page, "#download")
    assert name == "holiday.restored.png"
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (400, 320)
        assert image.getexif()[0x010E] == "what it shows"
    changed = (pixels(content) != pixels(sent)).any(2)
    assert changed[240:270, 75:125].mean() > 0.3  # where the first stroke was,
    changed[225:290, 40:160] = False
    assert not changed.any()  # not where the one was that was undone, nor anywhere else
    page.locator("#slider").fill("100")
    assert page.locator("#after-box").evaluate("e => e.style.clipPath") == "inset(0px 0px 0px 100%)"
    page.click("#show-artifacts")
    assert page.locator("#artifacts").is_visible()
    assert downloaded(page, "#report")[1].startswith(b"<!DOCTYPE html>")
    page.click("#again")
    expect(page.locator("#facts")).to_have_text(re.compile("^holiday.restored.png"))
    assert page.locator("#results").is_hidden()


def test_the_mask_is_what_was_drawn(page):
    load(page, photo_file(300, 400))
    page.keyboard.press("r")
    stroke(page, (0.25, 0.25), (0.5, 0.5))
    box = np.zeros((300, 400), bool)
    box[75:150, 100:200] = True
    found = mask_of(page)
    assert found.shape == box.shape
    assert (found != box).sum() < 1200  # the pointer falls on whole screen pixels
    page.keyboard.press("i")
    assert ((mask_of(page)) == ~found).all()
    page.keyboard.press("Control+z")
    page.keyboard.press("e")
    stroke(page, (0.1, 0.375), (0.9, 0.375))
    erased = mask_of(page)
    assert erased.sum() < found.sum()
    assert not (erased & ~found).any()


def test_keyboard_alone(page):
    load(page, photo_file(160, 200))
    page.focus("#stage")
    page.keyboard.press("r")
    page.keyboard.press("Space")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.focus("#draft")
    page.keyboard.press("Space")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#results:not([hidden])", timeout=60_000)
    page.focus("#slider")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#slider").input_value() == "49"
    names = page.evaluate("""() => [...document.querySelectorAll("button, input, select")]
        .filter((e) => e.checkVisibility() && !(e.labels?.length || e.textContent.trim() || e.ariaLabel))
        .map((e) => e.id)""")
    assert names == []  # a screen reader can name every control


def test_a_refusal_is_told_and_a_run_is_cancelled(page):
    load(page, photo_file(160, 200))
    page.fill("#prompt", "remove the zeppelin")
    page.click("#run")
    page.wait_for_selector("#say.bad", timeout=60_000)
    assert "zeppelin" in page.locator("#say").inner_text()
    page.fill("#prompt", "")
    stroke(page, (0.4, 0.6), (0.5, 0.7))
    page.fill("#variants", "4")
    page.fill("#passes", "20")
    page.click("#run")
    page.wait_for_selector("#progress:not([hidden])")
    expect(page.locator("#say")).to_have_text(re.compile("^Step"), timeout=60_000)
    page.keyboard.press("Escape")
    expect(page.locator("#say")).to_have_text("Stopped.")


def test_what_it_is_not_sure_of_is_asked(page):
    buffer = io.BytesIO()
    Image.fromarray(rocket()[::2, ::2]).save(buffer, "PNG")
    load(page, buffer.getvalue(), "rocket.png")
    page.fill("#prompt", "remove the tower")
    page.check("#draft")
    page.click("#run")
    page.wait_for_selector("#say.bad, #results:not([hidden])", timeout=60_000)
    if "Not sure" not in page.locator("#say").inner_text():
        pytest.skip("the grounder is sure of this tower now")
    assert page.locator("#boxes div").count() >= 1
    page.click("#anyway")
    page.wait_for_selector("#results:not([hidden])", timeout=60_000)
    assert page.locator("#boxes div").count() == 0


def test_a_phone(browser, server):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark")
    page = context.new_page()
    page.goto(server.url)
    load(page, photo_file(300, 400))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    zoom = page.locator("#world").bounding_box()["width"]
    page.evaluate("""() => { const stage = document.getElementById("stage"), box = stage.getBoundingClientRect();
      const touch = (name, id, x) => stage.dispatchEvent(new PointerEvent(name, { pointerId: id, pointerType: "touch",
        clientX: box.left + x, clientY: box.top + 200, bubbles: true }));
      stage.setPointerCapture = () => {};
      touch("pointerdown", 1, 150); touch("pointerdown", 2, 200);
      touch("pointermove", 2, 300); touch("pointermove", 1, 50);
      touch("pointerup", 1, 50); touch("pointerup", 2, 300); }""")
    assert page.locator("#world").bounding_box()["width"] > 2 * zoom
    assert page.locator("#undo").is_disabled()  # the pinch drew nothing
    context.close()


def test_the_key_is_asked_for(browser, strict):
    page = browser.new_page()
    page.goto(strict.url)
    page.fill("#key-text", strict.key)
    page.keyboard.press("Enter")
    expect(page).to_have_title("restore (builtin)")
    page.close()


def test_48_megapixels(page, tmp_path):
    """Loaded, marked and masked in good time, and the mask is of the photo's own size."""
    load(page, photo_file(6000, 8000))
    stroke(page, (0.3, 0.3), (0.35, 0.4), (0.5, 0.35))
    slowest = page.evaluate("""async () => {
      const { Marks } = await import("/page/marks.js");
      const marks = new Marks(document.createElement("canvas"));
      marks.start({ width: 8000, height: 6000 }, 2048 / 8000);
      marks.add({ kind: "stroke", points: [2000, 2000], size: 300, erase: false });
      const begun = performance.now(); for (let i = 0; i < 200; i++) marks.extend(2000 + 10 * i, 2000 + 7 * (i % 40));
      return (performance.now() - begun) / 200; }""")
    assert slowest < 2  # milliseconds a move
    found = mask_of(page)
    assert found.shape == (6000, 8000)
    assert 0 < found.mean() < 0.2
