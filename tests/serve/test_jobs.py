"""Jobs, our own routes, and what `curl` and other programs send."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess

import numpy as np
import pytest

from tests.conftest import make_scene
from tests.serving import pixels

ENDED = ("succeeded", "failed")


def finished(server, job):
    return server.until(f"/v1/jobs/{job['id']}", lambda told: told["status"] in ENDED)


def test_a_job_gives_its_picture_mask_artifacts_and_report(server, photo, mask, hole_mask):
    status, job = server.send("/v1/jobs", {"image": photo, "mask": mask}, passes=1, candidates=1, strange=1)
    assert status == 202
    assert job["ignored"] == ["strange"]
    told = finished(server, job)
    assert told["status"] == "succeeded", told
    (result,) = told["result"]["results"]
    files = {kind: server.ask(f"/v1/jobs/{job['id']}/files/{name}") for kind, name in result["files"].items()}
    assert all(status == 200 for status, _ in files.values())
    scene, edited = make_scene(), pixels(files["image"][1])
    assert np.array_equal(edited[~hole_mask], scene[~hole_mask])
    assert np.array_equal(pixels(files["mask"][1]).astype(bool), hole_mask)
    assert pixels(files["artifacts"][1]).shape == (160, 200, 4)
    assert files["report"][1].startswith(b"<!DOCTYPE html>")
    assert job["id"] in [one["id"] for one in server.ask("/v1/jobs")[1]["data"]]
    for name in ("image-0", "mask", "../../jobs.sqlite", "%2e%2e%2f%2e%2e%2fjobs.sqlite", "nothing.png"):
        assert server.ask(f"/v1/jobs/{job['id']}/files/{name}")[0] == 404
    assert server.ask(f"/v1/jobs/{job['id']}", method="DELETE")[1]["deleted"]
    assert server.ask(f"/v1/jobs/{job['id']}")[0] == 404
    assert not (server.log.parent / "state" / "jobs" / job["id"]).exists()


def test_jobs_of_every_type(server, photo, mask):
    asked = [{"type": "enhance", "task": "denoise"}, {"type": "segment", "find": "text"}, {"type": "assess"},
             {"type": "refine", "passes": 1, "candidates": 1}]  # fmt: skip
    jobs = [server.send("/v1/jobs", {"image": photo}, **fields)[1] for fields in asked]
    enhanced, segmented, assessed, refined = (finished(server, job) for job in jobs)
    assert enhanced["result"]["results"][0]["task"] == "denoise"
    assert segmented["status"] == "failed"
    assert segmented["error"]["code"] == "object_not_found"
    assert 0 <= assessed["result"]["quality"] <= 100
    assert refined["result"]["results"][0]["stop"] in ("threshold", "budget", "no-gain")
    assert server.send("/v1/jobs", {"image": photo}, type="paint")[0] == 400
    assert server.send("/v1/jobs", {}, type="assess")[1]["error"]["param"] == "image"


def test_enhance_and_refine_answer_as_edits_do(server, photo, mask, hole_mask):
    status, told = server.send("/v1/enhance", {"image": photo}, task="super-resolution", scale=2)
    assert status == 200
    assert pixels(base64.b64decode(told["data"][0]["b64_json"])).shape == (320, 400, 3)
    assert told["restore"]["results"][0]["size"] == [400, 320]
    status, told = server.send("/v1/refine", {"image": photo, "mask": mask}, passes=1, candidates=1)
    edited = pixels(base64.b64decode(told["data"][0]["b64_json"]))
    assert np.array_equal(edited[~hole_mask], make_scene()[~hole_mask])
    assert server.send("/v1/enhance", {"image": photo}, task="magic")[1]["error"]["param"] == "task"
    assert server.send("/v1/enhance", {"image": photo})[1]["error"]["param"] == "task"


def test_assess_in_a_mask_and_against_a_reference(server, photo, mask):
    status, told = server.send("/v1/assess", {"image": photo, "mask": mask, "reference": photo})
    assert status == 200
    assert told["ssim"] == pytest.approx(1)
    assert told["par_hole"] is not None
    assert pixels(base64.b64decode(told["artifacts_b64"])).shape == (160, 200, 4)


def test_json_with_data_urls_is_a_request_too(server, photo, mask):
    uri, shape = ("data:image/png;base64," + base64.b64encode(b).decode() for b in (photo, mask))
    body = {"images": [{"image_url": uri}], "mask": {"image_url": shape}, "prompt": "", "draft": True, "n": 1}
    form = server.send("/v1/images/edits", {"image": photo, "mask": mask}, draft="true")[1]
    told = server.ask("/v1/images/edits", json.dumps(body).encode(), content_type="application/json")[1]
    assert told["data"][0]["b64_json"] == form["data"][0]["b64_json"]


def test_boxes_and_points(server, photo):
    edit = "/v1/images/edits"
    told = server.send(edit, {"image": photo}, box=["10,90,20,20", "60,90,20,20"], draft=1)[1]
    assert [r["box"] for r in told["restore"]["results"][0]["mask"]["regions"]] == [[10, 90, 20, 20], [60, 90, 20, 20]]
    listed = json.dumps({"image": _uri(photo), "box": [[10, 90, 20, 20], [60, 90, 20, 20]], "draft": True}).encode()
    assert server.ask(edit, listed, content_type="application/json")[1]["data"] == told["data"]
    assert server.send(edit, {"image": photo}, box="10,90,20,20", draft=1, n=2)[0] == 200
    assert server.send(edit, {"image": photo}, point="999,3")[1]["error"]["param"] == "point"
    assert server.send("/v1/segment", {"image": photo}, point="5,5")[0] in (200, 422)


def _uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def test_openapi_names_every_route(server):
    told = server.ask("/openapi.json")[1]
    edit = told["paths"]["/v1/images/edits"]["post"]
    fields = edit["requestBody"]["content"]["multipart/form-data"]
    assert {"image", "mask", "prompt", "n", "seed"} <= set(fields["schema"]["properties"])
    assert fields["example"]["prompt"] == "remove the rocket"
    for path in ("/v1/segment", "/v1/assess", "/v1/enhance", "/v1/refine", "/v1/jobs", "/health", "/ready", "/metrics"):
        assert path in told["paths"]


def test_metrics_count(server):
    server.ask("/v1/models")
    text = server.ask("/metrics")[1].decode()
    assert 'restore_requests_total{method="GET",path="/v1/models",status="200"}' in text
    assert "restore_queue_waiting 0.0" in text


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_curl_as_other_programs_call_it(server, photo, mask, tmp_path):
    """LibreChat sends `image[]` and a quality, Open WebUI a size and response_format; both a key nobody asked for."""
    for name, content in (("photo.png", photo), ("mask.png", mask)):
        (tmp_path / name).write_bytes(content)
    shared = ["curl", "-s", f"{server.url}/v1/images/edits", "-H", "Authorization: Bearer sk-any", "-F", "draft=1",
              "-F", f"mask=@{tmp_path}/mask.png", "-F", "prompt=remove it"]  # fmt: skip
    forms = [
        ["-F", f"image[]=@{tmp_path}/photo.png;type=image/png", "-F", "model=gpt-image-1", "-F", "quality=auto",
         "-F", "n=1", "-F", "size=auto", "-F", "background=auto", "-F", "user=abc"],
        ["-F", f"image=@{tmp_path}/photo.png", "-F", "model=dall-e-2", "-F", "n=1", "-F", "size=200x160",
         "-F", "response_format=b64_json"],
        ["-H", "Transfer-Encoding: chunked", "-F", f"image=@{tmp_path}/photo.png;type=application/octet-stream"],
    ]  # fmt: skip
    answers = [json.loads(subprocess.check_output([*shared, *form])) for form in forms]
    assert len({answer["data"][0]["b64_json"] for answer in answers}) == 1
