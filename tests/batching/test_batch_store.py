"""Pictures in object stores: fsspec's memory://, and a local S3 server where moto and s3fs are installed."""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image

import restore
from restore import InputError
from restore.batching.job import Job
from restore.batching.lease import Lease
from restore.batching.plan import Planner
from restore.batching.source import read_rows
from restore.batching.worker import Worker
from tests.batching.test_batch_runs import CHEAP
from tests.conftest import make_scene

fsspec = pytest.importorskip("fsspec")


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(make_scene(40, 48, seed)).save(buffer, "jpeg", quality=40)
    return buffer.getvalue()


def test_pictures_come_from_a_store_and_go_to_one(tmp_path):
    files = fsspec.filesystem("memory")
    for name in ("/in/a.jpg", "/in/sub/b.jpg", "/in/.hidden/c.jpg", "/in/a.mask.png", "/in/notes.txt"):
        files.pipe_file(name, jpeg(len(name)))
    files.pipe_file("/in/broken.jpg", b"\xff\xd8\xff no picture")
    job = Job("enhance", "memory://out", CHEAP, folder=str(tmp_path))
    job.begin()
    lease = Lease(job.home / "lease")
    items = {i["id"]: i for i in Planner(job).items(read_rows("memory://in", tmp_path / "spool"))}
    assert set(items) == {"a.jpg", "broken.jpg", "sub/b.jpg"}
    worker = Worker(job, lease.token)
    for name in ("a.jpg", "sub/b.jpg"):
        record = worker(items[name])
        assert (record["error"], record["output"], record["image"]) == (None, name, items[name]["image"])
        assert hashlib.sha256(files.cat_file(f"/out/{name}")).hexdigest() == record["sha256"]
        assert worker(items[name]) == record  # by its receipt
    (tmp_path / "alone.jpg").write_bytes(files.cat_file("/in/a.jpg"))
    restore.enhance(tmp_path / "alone.jpg", **CHEAP).save(tmp_path / "out.jpg")
    assert (tmp_path / "out.jpg").read_bytes() == files.cat_file("/out/a.jpg")
    error = worker(items["broken.jpg"])["error"]
    assert error.startswith("memory:///in/broken.jpg: expected")
    assert not list((job.home / "drafts").iterdir())
    files.pipe_file("/out/taken.jpg", b"mine")
    taken = worker(items["a.jpg"] | {"id": "taken.jpg", "key": "0" * 32})
    assert "existing" in taken["error"]
    assert files.cat_file("/out/taken.jpg") == b"mine"
    before = items["a.jpg"]["key"]
    files.pipe_file("/in/a.jpg", jpeg(99) + b"\0")
    again = {i["id"]: i for i in Planner(job).items(read_rows("memory://in", tmp_path / "spool"))}
    assert again["a.jpg"]["key"] != before
    assert again["sub/b.jpg"]["key"] == items["sub/b.jpg"]["key"]
    lease.close()


def test_a_url_needs_a_folder_for_its_ledger_and_a_store_that_is_there(tmp_path):
    with pytest.raises(InputError, match="--ledger"):
        Job("enhance", "memory://out", CHEAP)
    with pytest.raises(InputError, match="--ledger"):
        Job("enhance", str(tmp_path), CHEAP, folder=str(tmp_path))
    for url in ("nowhere://bucket", "memory://empty"):
        with pytest.raises(InputError, match="expected"):
            list(restore.batch("enhance", url, tmp_path / "out", **CHEAP))


def test_a_table_of_urls_with_masks_by_workers_of_their_own(tmp_path, monkeypatch):
    """A local S3 server, asked by the driver and by worker processes."""
    server = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    moto = server.ThreadedMotoServer(port=0)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        own = {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": "us-east-1"}
        for name, value in (own | {"ENDPOINT_URL": f"http://{host}:{port}"}).items():
            monkeypatch.setenv(f"AWS_{name}", value)
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        files.mkdir("photos")
        files.mkdir("clean")
        mask = np.zeros((40, 48), np.uint8)
        mask[20:30, 20:30] = 255
        buffer = io.BytesIO()
        Image.fromarray(mask).save(buffer, "png")
        for index in range(3):
            files.pipe_file(f"photos/in/{index}.jpg", jpeg(index))
            files.pipe_file(f"photos/in/{index}_mask.png", buffer.getvalue())
        table = tmp_path / "t.jsonl"
        table.write_text("\n".join(json.dumps({"image": f"s3://photos/in/{i}.jpg", "customer": i}) for i in range(3)))
        options = {"mask": "{stem}_mask.png", "draft": True, "folder": str(tmp_path / "job"), "workers": 1}
        records = {r["id"]: r for r in restore.batch("inpaint", table, "s3://clean/out", **options)}
        assert set(records) == {f"in/{i}.jpg" for i in range(3)}
        for name, record in records.items():
            assert record["error"] is None
            files.invalidate_cache()
            assert hashlib.sha256(files.cat_file(f"clean/out/{name}")).hexdigest() == record["sha256"]
            assert record["settings"]["mask"] == [f"s3://photos/{name[:-4]}_mask.png"]
        assert not list(restore.batch("inpaint", table, "s3://clean/out", **options))
    finally:
        moto.stop()
