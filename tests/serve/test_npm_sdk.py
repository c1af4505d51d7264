"""OpenAI's JavaScript client, where Node and the npm package are installed (NODE_PATH, or npm's global folder)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import make_scene
from tests.serving import pixels

SCRIPT = r"""
const fs = require("fs");
const { default: OpenAI, toFile } = require("openai");
const [url, photo, mask] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: "any", maxRetries: 0 });
(async () => {
  const asked = { model: "gpt-image-1", prompt: "remove this", draft: true };
  const sent = () => ({ ...asked, image: fs.createReadStream(photo), mask: fs.createReadStream(mask) });
  const streams = (await client.images.edit(sent())).data[0].b64_json;
  const image = [await toFile(fs.readFileSync(photo), null, { type: "image/png" })];
  const hole = await toFile(fs.readFileSync(mask));
  const files = (await client.images.edit({ ...asked, image, mask: hole })).data[0].b64_json;
  const events = [];
  const stream = await client.images.edit({ ...sent(), stream: true, partial_images: 1 });
  for await (const event of stream) events.push(event.type);
  let refused;
  try { await client.images.edit({ ...sent(), size: "1x1" }); }
  catch (error) { refused = [error.constructor.name, error.status, error.param]; }
  const models = (await client.models.list()).data.map((m) => m.id);
  console.log(JSON.stringify({ streams, files, events, refused, models }));
})();
"""


def node_path() -> str | None:
    """A folder that holds the package `openai`."""
    if shutil.which("node") is None:
        return None
    folders = [os.environ.get("NODE_PATH", ""), "/usr/local/lib/node_modules", "/usr/lib/node_modules"]
    return next((f for f in folders if f and (Path(f) / "openai").is_dir()), None)


@pytest.mark.skipif(node_path() is None, reason="no Node with the npm package openai on this machine")
def test_the_javascript_client(server, photo, mask, hole_mask, tmp_path):
    for name, content in (("photo.png", photo), ("mask.png", mask), ("script.cjs", SCRIPT.encode())):
        (tmp_path / name).write_bytes(content)
    command = ["node", tmp_path / "script.cjs", f"{server.url}/v1", tmp_path / "photo.png", tmp_path / "mask.png"]
    environment = {**os.environ, "NODE_PATH": str(node_path())}
    told = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120).stdout)
    edited = pixels(base64.b64decode(told["streams"]))
    assert np.array_equal(edited[~hole_mask], make_scene()[~hole_mask])
    assert told["files"] == told["streams"]
    assert told["events"] == ["image_edit.partial_image", "image_edit.completed"]
    assert told["refused"] == ["BadRequestError", 400, "size"]
    assert told["models"] == ["builtin"]
