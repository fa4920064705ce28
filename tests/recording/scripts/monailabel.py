"""MONAI Label: 3D Slicer, OHIF, the reviewer and the Python client."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import Any

import numpy as np

from tests.dicom.synthetic import encode
from tests.recording.client import Answer, Form, Json, Site, part, q
from tests.recording.studies import nifti

BUTTONS = {"label": "liver", "client_id": "anna"}


def play(site: Site) -> None:
    _information(site)
    _activity(site)
    _training(site)
    _images(site)
    _clicks(site)
    _other_models(site)
    _bad_inference(site)
    _labels(site)
    _sessions(site)
    _models_and_the_rest(site)
    _weights(site)
    _jobs(site)
    _refused_jobs(site)
    site.get("/info/")
    site.get("/datastore/?output=all")
    site.get("/datastore/?output=train")
    site.get("/datastore/dataset")
    site.get("/datastore/dataset?limit_cases=1")


def _information(site: Site) -> None:
    for path in ("/info/", "/info", "/datastore/", "/datastore", "/datastore/?output=all", "/datastore/?output=train"):
        site.get(path)
    site.get("/datastore/?output=everything")
    site.post("/reload")
    for path in ("/train/", "/scoring/", "/batch/infer"):
        for query in ("", "?check_if_running=true", "?all=true"):
            site.get(f"{path}{query}")
        site.delete(path)
    site.call("PATCH", "/info/")
    site.get("/infer/clicks")
    site.get("/nowhere")
    site.get("//info//")


def _activity(site: Site) -> None:
    # Not the random ones, nor entropy before there are scores: they would pick another case each time.
    for strategy in ("first", "last"):
        site.post(f"/activelearning/{strategy}", Json({"client_id": "anna"}))
    site.post("/activelearning/first", Json({"client_id": "berta"}))
    site.post("/activelearning/first/")
    site.post("/activelearning/first", Json({"client_id": "carl", "strategy": ["first", "last"]}))
    site.post("/activelearning/nobody", Json({}))
    site.post("/activelearning/first", b"{", Content_Type="application/json")
    site.post("/activelearning/first", Json([1, 2]))


def _images(site: Site) -> None:
    for image in site.studies.series.values():
        site.get(q("/datastore/image", image=image.uid))
        site.get(q("/datastore/image/info", image=image.uid))
    oblique = site.studies.series["oblique"].uid
    content = site.ask("GET", q("/datastore/image", image=oblique)).content
    site.get(q("/datastore/image", image=oblique), Range="bytes=0-99")
    for algorithm in ("md5", "sha256", "sha512"):
        digest = hashlib.new(algorithm, content).hexdigest()
        site.call("HEAD", q("/datastore/image", image=oblique, check_sum=f"{algorithm.upper()}:{digest}"))
    for checked in ("SHA256:00", "CRC32:00", "nonsense"):
        site.call("HEAD", q("/datastore/image", image=oblique, check_sum=checked))
    site.call("HEAD", q("/datastore/image", image=oblique))
    site.call("HEAD", q("/datastore/image", image="nobody"))
    for path in ("/datastore/image", q("/datastore/image", image="nobody"), q("/datastore/image/info", image="nobody")):
        site.get(path)
    info = q("/datastore/image/info", image=oblique)
    site.put(info, Form({"info": json.dumps({"ward": 7})}))
    site.put(info, Form({"info": "[]"}))
    site.put(info, Form({"info": "{"}))
    site.get(info)
    _uploads(site, oblique)


def _uploads(site: Site, oblique: str) -> None:
    content = nifti(*site.studies.volume)
    form = Form({"params": json.dumps({"client_id": "anna"})}, {"file": ("C:\\images\\knee 3.nii.gz", content)})
    site.put("/datastore/", form)
    site.put(q("/datastore/image", image="elbow"), form)
    site.put(q("/datastore/image", image="elbow"), form)
    site.put(q("/datastore/image", image=oblique), form)
    site.put(q("/datastore/image", image="../up"), form)
    site.put("/datastore/image?image=nothing", Form())
    site.put("/datastore/image?image=nothing", b"what is this", Content_Type="text/plain")
    site.put("/datastore/image?image=nothing", b"--x\r\nbroken", Content_Type="multipart/form-data; boundary=y")
    for name, damaged in {"short.nii.gz": content[:200], "text.nii": b"no image", "empty.nrrd": b""}.items():
        site.put("/datastore/image?image=bad", Form({}, {"file": (name, damaged)}))
    site.put("/datastore/image?image=slice", Form({}, {"file": ("one.dcm", encode(_first(site)))}))
    site.get("/datastore/image?image=elbow")
    site.delete("/datastore/?id=elbow")
    site.delete("/datastore/?id=elbow")
    site.delete("/datastore/")
    site.get("/datastore/?output=all")


def _clicks(site: Site) -> None:
    for image in site.studies.series.values():
        one, two = [5, 6, 3], [7, 9, 4]
        for clicks in ([one], [one, two], [one, two], [two], []):
            infer(site, "clicks", image.uid, {**BUTTONS, "foreground": clicks, "background": []})
        infer(site, "clicks", image.uid, {**BUTTONS, "foreground": [one, two], "background": [[6, 8, 3]]})
        infer(site, "clicks", image.uid, {**BUTTONS, "foreground": [two], "reset_state": True}, output="")
    oblique = site.studies.series["oblique"].uid
    params = {**BUTTONS, "foreground": [[5.4, 6.6, 3]], "roi": [9, 2, 3, 12, 1, 4], "radius": 1}
    for output in ("", "all", "image", "json", "dicom_seg"):
        infer(site, "clicks", oblique, params, output)
    infer(site, "clicks", oblique, {**params, "result_compress": False})
    infer(site, "clicks", oblique, {"foreground": [[1, 1, 1]], "background": [[1, 1, 1]]})
    infer(site, "clicks", oblique, {"foreground": [[99, -5, 3]], "slice": 3.2, "radius": ["1", 2]})
    infer(site, "clicks", oblique, {"foreground": [[2, 3, 4]], "radius": 3.0, "label": "spleen", "unknown": {}})
    saved = {**BUTTONS, "foreground": [[4, 4, 4]], "save_label": True, "label_tag": "draft"}
    infer(site, "clicks", oblique, saved, output="json")
    infer(site, "clicks", oblique, {**saved, "label_tag": ""}, output="json")
    site.wait_for_labels()
    site.get("/api/v1/labels")
    file = Form(
        {"params": json.dumps({"foreground": [[3, 3, 3]]})}, {"file": ("mine.nii.gz", nifti(*site.studies.volume))}
    )
    site.post("/infer/clicks?output=image", file)
    site.post("/infer/clicks?output=image", file)


def _other_models(site: Site) -> None:
    for image in site.studies.series.values():
        infer(site, "bands", image.uid, {})
    oblique = site.studies.series["oblique"]
    for output in ("", "json", "dicom_seg"):
        infer(site, "bands", oblique.uid, {"label_info": [{"name": "Liver left"}, {"name": "Spleen"}]}, output)
    infer(site, "bands", oblique.uid, {"label_info": [{"name": "one"}]}, "dicom_seg")
    infer(site, "bands", oblique.uid, {"save_label": True, "label_tag": "auto"}, "json")
    for model in ("untrained", "deepedit", "deepgrow_2d", "nobody", "wsi"):
        infer(site, model, oblique.uid, {"foreground": [[1, 2, 3]], "liver": [[1, 2, 3]]})
    site.wait_for_labels()
    painted = np.zeros(oblique.geometry.shape, np.uint8)
    painted[3, 8:11, 6:9], painted[3, 1:3, :] = 3, 4
    told = [{"name": "foreground_scribbles", "id": 3}, {"name": "background_scribbles", "id": 4}]
    params: dict[str, Any] = {**BUTTONS, "label_info": told}
    drawn = {"label": ("scribbles.nii.gz", nifti(painted, oblique.geometry))}
    for roi in ([], [2, 13, 2, 15, 1, 6]):
        infer(site, "Histogram+GraphCut", oblique.uid, {**params, "roi": roi}, files=drawn)
    infer(site, "Histogram+GraphCut", oblique.uid, params)
    infer(site, "Histogram+GraphCut", oblique.uid, {"label_info": [{"name": "liver"}]}, files=drawn)
    other = {"label": ("scribbles.nii.gz", site.studies.series["sagittal"].label())}
    infer(site, "Histogram+GraphCut", oblique.uid, params, files=other)
    infer(site, "Histogram+GraphCut", oblique.uid, params, files={"label": ("s.nii.gz", b"nothing")})


def _bad_inference(site: Site) -> None:
    oblique = site.studies.series["oblique"].uid
    for params in (
        {"foreground": [[1, 2]]},
        {"foreground": "here"},
        {"foreground": [[1, 2, None]]},
        {"roi": [1, 2, 3]},
        {"radius": "wide"},
        {"radius": -1},
        {"label_info": [{}]},
        {"slice": "three"},
        {"save_label": "perhaps"},
    ):
        infer(site, "clicks", oblique, params)
    infer(site, "clicks", oblique, {}, output="asap")
    infer(site, "clicks", "nobody", {})
    infer(site, "clicks", "", {})
    site.post(q("/infer/clicks", session_id="nobody"), Form({"params": "{}"}))
    site.post(q("/infer/clicks", image=oblique), Form({"params": "["}))
    site.post(q("/infer/clicks", image=oblique), Form({"params": '{"foreground": [[NaN, 1, 2]]}'}))
    site.post(q("/infer/clicks", image=oblique), b"x", Content_Type="multipart/form-data")
    site.post(q("/infer/clicks", image=oblique), b"params=%7B%7D", Content_Type="application/x-www-form-urlencoded")
    site.post("/infer/clicks", Form({}, {"file": ("x.nii.gz", b"nothing")}))
    for method in ("GET", "POST"):
        site.call(method, "/infer/wsi/clicks")
        site.call(method, "/infer/wsi_v2/clicks")
        site.call(method, "/proxy/dicom/")
    site.get("/datastore/wsi/x")


def _labels(site: Site) -> None:
    oblique = site.studies.series["oblique"]
    told = {"client_id": "anna", "model": "clicks", "label_info": [{"name": "liver", "idx": 2}, {"name": "spleen"}]}
    for name, image in site.studies.series.items():
        site.put(q("/datastore/label", image=image.uid), _label(image.label(len(name)), told))
    site.put(q("/datastore/label", image=oblique.uid), _label(oblique.label(7), {**told, "comment": "by hand"}))
    site.put(q("/datastore/label", image=oblique.uid), _label(oblique.label(7), {**told, "comment": "by hand"}))
    site.put(q("/datastore/label", image=oblique.uid, tag="original"), _label(oblique.label(8), told))
    review = {**told, "segmentationMeta": {"comment": "look again", "status": "flagged"}}
    site.put(q("/datastore/label", image=oblique.uid, tag="version_1"), _label(oblique.label(9), review))
    site.wait_for_labels()
    site.get("/api/v1/labels")
    for path in ("/datastore/label", "/datastore/label/info"):
        site.get(q(path, label=oblique.uid, tag="final"))
        site.get(q(path, label=oblique.uid, tag="nothing"))
        site.get(q(path, label="nobody", tag="final"))
        site.get(path)
    site.call("HEAD", q("/datastore/label", image=oblique.uid, tag="final"))
    site.call("HEAD", q("/datastore/label", image=oblique.uid, tag="nothing"))
    noted = q("/datastore/label/info", label=oblique.uid, tag="version_1")
    site.put(noted, Form({"info": json.dumps({"level": "easy", "params": {"x": 1}})}))
    site.put(q("/datastore/updatelabelinfo", label=oblique.uid, tag="version_1"), Form({"params": json.dumps(review)}))
    site.put(q("/datastore/label/info", label="nobody", tag="x"), Form({"info": "{}"}))
    site.put(noted, Form({"info": "7"}))
    site.get(noted)
    site.delete(q("/datastore/label", id=oblique.uid, tag="version_1"))
    site.delete(q("/datastore/label", id=oblique.uid, tag="version_1"))
    site.get(noted)
    _bad_labels(site, oblique.uid)


def _bad_labels(site: Site, case: str) -> None:
    place = q("/datastore/label", image=case)
    series = site.studies.series
    named = {"label_info": [{"name": "liver"}, {"name": "spleen"}]}
    for content in (b"", b"nothing", series["tilted"].label()):
        site.put(place, _label(content, {}))
    site.put(place, _label(series["oblique"].label(values=300, dtype=np.int16), named))
    site.put(place, _label(gzip.compress(b"still nothing", mtime=0), {}))
    site.put(place, Form({"params": "{}"}))
    site.put(place, Form({"params": "{"}, {"label": ("l.nii.gz", series["oblique"].label())}))
    site.put(q("/datastore/label", image="nobody"), _label(series["oblique"].label(), {}))
    site.put("/datastore/label", _label(b"x", {}))
    site.put(
        q("/datastore/label", image=case, tag="a/b\n"),
        _label(series["oblique"].label(), {"label_info": [{"name": "liver"}, {"name": "spleen"}]}),
    )
    site.wait_for_labels()


def _sessions(site: Site) -> None:
    content = nifti(*site.studies.volume)
    opened = site.put("/session/?expiry=600", Form({"client_id": "anna"}, {"files": ("scan.nii.gz", content)}))
    session = str(opened.get("session_id"))
    for path in (f"/session/{session}", f"/session/{session}?update_ts=true", f"/session/{session}?image=true"):
        site.get(path)
    site.post(
        f"/infer/clicks?session_id={session}&output=image", Form({"params": json.dumps({"foreground": [[2, 3, 4]]})})
    )
    site.delete(f"/session/{session}")
    site.delete(f"/session/{session}")
    site.get(f"/session/{session}")
    site.put("/session/", Form())
    site.put("/session/?uncompress=true", Form({}, {"files": ("scan.zip", b"PK")}))
    site.put("/session/", Form({}, {"files": ("scan.nii.gz", b"nothing")}))
    site.put("/session/?expiry=soon", Form({}, {"files": ("scan.nii.gz", content)}))


def _models_and_the_rest(site: Site) -> None:
    for model in ("clicks", "bands", "untrained", "Histogram+GraphCut", "nobody"):
        site.get(f"/model/{part(model)}")
        site.get(f"/model/info/{part(model)}")
        site.delete(f"/model/{part(model)}")
        site.put(f"/model/{part(model)}", Form({}, {"file": ("model.pt", b"no weights")}))
    site.put("/model/untrained", Form())
    for path in ("/logs/", "/logs/?lines=5&text=true", "/logs/?html=false", "/logs/?refresh=3", "/logs/gpu"):
        site.glance(path)
    site.get("/logs/?lines=many")
    for method, path in (("GET", "/auth/"), ("POST", "/auth/token"), ("GET", "/auth/token/valid")):
        site.call(method, path)


def _weights(site: Site) -> None:
    """A network, whose masks are the same on one machine: imported, used, exchanged, and taken back."""
    model, image = "deepgrow_2d", site.studies.series["oblique"].uid
    versions = f"/api/v1/models/{model}"
    for weights in site.studies.weights:
        site.put(f"/model/{model}", Form({"params": json.dumps({"client_id": "anna"})}, {"file": ("m.pt", weights)}))
        site.get(f"/model/{model}")
        site.get(f"/model/info/{model}")
        for clicks in ([[5, 6, 3]], [[5, 6, 3], [9, 12, 3]], [[5, 6, 3], [9, 12, 3], [4, 4, 7]]):
            infer(site, model, image, {**BUTTONS, "foreground": clicks, "background": [[1, 1, 3]], "slice": 3})
    opened = site.post("/api/v1/sessions", Json({"case_id": image, "model": model}), X_Segloop_User="anna")
    session = f"/api/v1/sessions/{opened.get('id')}"
    site.post(f"{session}/prompts", Json({"prompts": [{"type": "point", "at": [3, 6, 5]}]}))
    newest = site.get(f"{versions}/versions").get(0, "id")
    site.delete(f"/model/{model}")
    site.post(f"{session}/prompts", Json({"prompts": [{"type": "point", "at": [3, 12, 9], "include": False}]}))
    infer(site, model, image, {**BUTTONS, "foreground": [[5, 6, 3]], "slice": 3})
    for version in (newest, "nothing"):
        site.post(f"{versions}/serve", Json({"version": version}))
    site.post(f"{versions}/rollback")
    site.post(f"{versions}/rollback")
    site.get(f"{versions}/versions")
    site.get("/info/")


def _jobs(site: Site) -> None:
    _job(site, "/scoring/", site.post("/scoring/entropy_bands", Json({"client_id": "anna"})))
    _job(site, "/batch/infer", site.post("/batch/infer/bands?images=unlabeled", Json({"client_id": "anna"})))
    site.wait_for_labels()
    site.get("/api/v1/labels")
    site.post("/activelearning/entropy", Json({"client_id": "emil"}))


def _training(site: Site) -> None:
    """Before there is a label to train on, so that it ends in one way on every machine."""
    started = site.post("/train/untrained", Json({"client_id": "anna", "max_epochs": 1}))
    site.post("/train/untrained", Json({"client_id": "anna"}))
    _job(site, "/train/", started)


def _job(site: Site, path: str, started: Answer) -> None:
    job = str(started.get("id"))
    site.get(f"{path}?check_if_running=true")
    site.wait_for_job(job)
    for query in ("", "?all=true", "?check_if_running=true"):
        site.get(f"{path}{query}")


def _refused_jobs(site: Site) -> None:
    for path in (
        "/train/nobody",
        "/scoring/nobody",
        "/batch/infer/nobody",
        "/batch/infer/clicks",
        "/batch/infer/untrained",
    ):
        site.post(path, Json({}))
    site.post("/batch/infer/bands?images=some", Json({}))
    site.post("/batch/infer/bands", Json([1]))
    site.post("/train/untrained", b"{", Content_Type="application/json")


def infer(
    site: Site,
    model: str,
    image: str,
    params: dict[str, Any],
    output: str = "image",
    files: dict[str, tuple[str, bytes]] | None = None,
) -> Answer:
    query = {"image": image, **({"output": output} if output else {})}
    return site.post(q(f"/infer/{part(model)}", **query), Form({"params": json.dumps(params)}, files or {}))


def _label(content: bytes, params: dict[str, Any]) -> Form:
    return Form({"params": json.dumps(params)}, {"label": ("label.nii.gz", content)})


def _first(site: Site) -> Any:
    return site.studies.series["oblique"].instances[0]
