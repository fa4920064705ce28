"""`/datastore/` and `/session/` (docs/protocols/monailabel.md, sections 6 and 8)."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from app.core.volume import Geometry
from tests.dialects.monailabel.site import SHAPE, Site, nifti, opened
from tests.dicom.synthetic import ct_series, encode


def painted() -> np.ndarray:
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[2:5, 4:9, 3:6] = 1
    voxels[6:8, 10:12, 8:13] = 2
    return voxels


def submit(site: Site, case_id: str, content: bytes, name: str, label_info: Any, tag: str = "", **more: Any) -> Any:
    params = {"image": case_id, **({"tag": tag} if tag else {})}
    data = {"params": json.dumps({"label_info": label_info, "client_id": "anna", "model": "clicks", **more})}
    return site.client.put("/datastore/label", params=params, data=data, files={"label": (f"/tmp/{name}", content)})


def seg_nrrd(site: Site, folder: Path, values: dict[str, int]) -> bytes:
    """`painted` as 3D Slicer saves a segmentation of "case 07": segments by name, with their values."""
    import nrrd

    geometry = site.truth["case 07"].geometry
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "space directions": geometry.affine[:3, :3].T,
        "space origin": geometry.affine[:3, 3],
        "kinds": ["domain"] * 3,
    }
    for number, (name, value) in enumerate(values.items()):
        fields = {"ID": f"s{number}", "Name": name, "LabelValue": str(value), "Layer": "0"}
        header |= {f"Segment{number}_{key}": text for key, text in fields.items()}
    nrrd.write(str(folder / "x.seg.nrrd"), painted().transpose(2, 1, 0), header)
    return (folder / "x.seg.nrrd").read_bytes()


def downloaded(site: Site, case_id: str, tag: str, tmp_path) -> np.ndarray:
    answer = site.client.get("/datastore/label", params={"label": case_id, "tag": tag})
    assert answer.status_code == 200, answer.text
    (tmp_path / "got.nii.gz").write_bytes(answer.content)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "got.nii.gz")))


def note(site: Site, case_id: str, tag: str = "final") -> dict[str, Any]:
    objects = site.client.get("/datastore/", params={"output": "all"}).json()["objects"]
    return objects[case_id]["labels"][tag]["info"]


class TestLabels:
    @pytest.mark.parametrize("case", [0, 1, 2])
    def test_segments_are_named_by_position(self, fresh: Site, tmp_path, case):
        """`background` first in Slicer's scene makes every `idx` one too high.

        Protocol: docs/protocols/monailabel.md, section 8.4.
        """
        case_id = list(fresh.truth)[case]
        content = nifti(painted(), fresh.truth[case_id].geometry, tmp_path)
        answer = submit(
            fresh, case_id, content, "x.nii.gz", [{"name": "liver", "idx": 2}, {"name": "spleen", "idx": 3}]
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["image"] == answer.json()["label"] == case_id
        label = fresh.services.labels.newest(case_id, "final")
        mask = fresh.services.labels.mask(label)
        assert [segment.name for segment in label.segments] == ["liver", "spleen"]
        assert (mask.voxels_of(1) == (painted() == 1)).all()
        assert (mask.voxels_of(2) == (painted() == 2)).all()
        assert (label.author, label.client, label.model) == ("anna", "monailabel", "clicks")
        assert (downloaded(fresh, case_id, "final", tmp_path) == painted()).all()
        assert [entry["idx"] for entry in note(fresh, case_id)["label_info"]] == [1, 2]
        assert note(fresh, case_id)["params"]["label_names"] == {"liver": 1, "spleen": 2}
        assert fresh.client.get("/info/").json()["datastore"] == {
            "total": 3,
            "completed": 1,
            "label_tags": {"final": 1},
        }

    def test_an_empty_segment_keeps_the_others_in_place(self, fresh: Site, tmp_path):
        content = nifti((painted() == 2).astype(np.uint8) * 2, fresh.truth["case 07"].geometry, tmp_path)
        names = [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}]
        assert submit(fresh, "case 07", content, "x.nii.gz", names).status_code == 200
        label = fresh.services.labels.newest("case 07", "final")
        mask = fresh.services.labels.mask(label)
        assert [segment.name for segment in mask.segments] == ["spleen"]
        assert label.states == {"spleen": "segmented"}, "nobody said anything of the liver"
        assert (mask.voxels_of(1) == (painted() == 2)).all()
        assert note(fresh, "case 07")["params"]["label_names"] == {"spleen": 1}
        assert note(fresh, "case 07")["states"] == {"spleen": "segmented"}

    @pytest.mark.parametrize(
        ("label_info", "told"),
        [
            (None, "meant by Segment 1, Segment 2: send its name. This project's structures: liver, spleen"),
            ([], "meant by Segment 1, Segment 2"),
            ("liver", "meant by Segment 1, Segment 2"),
            ([{"name": "liver"}, {"idx": 2}], "meant by Segment 1, Segment 2"),
            ([{"name": "liver"}, {"name": "Segment_2"}], "meant by Segment_2: send its name"),
            ([{"name": "liver"}, {"name": "Splen"}], "no structure 'Splen'. Did you mean spleen?"),
        ],
    )
    def test_without_names_of_the_project_nothing_is_stored(self, fresh: Site, tmp_path, label_info, told):
        content = nifti(painted(), fresh.truth["case 07"].geometry, tmp_path)
        refused = submit(fresh, "case 07", content, "x.nii.gz", label_info)
        assert refused.status_code == 400
        assert told in refused.json()["detail"]
        assert fresh.services.labels.history("case 07") == []

    def test_segments_that_slicer_has_numbered_are_those_sent_beside_them(self, fresh: Site, tmp_path):
        """The reviewer loads a label, whose segments Slicer then calls Segment_1, ..., and sends the label's names."""
        content = seg_nrrd(fresh, tmp_path, {"Segment_2": 2, "Segment_1": 1})
        names = [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}]
        assert submit(fresh, "case 07", content, "x.nrrd", names, tag="version_1").status_code == 200
        mask = fresh.services.labels.mask(fresh.services.labels.newest("case 07", "version_1"))
        assert [segment.name for segment in mask.segments] == ["spleen", "liver"]
        np.testing.assert_array_equal(mask.voxels_of(2), painted() == 1)

    def test_an_empty_mask_says_nothing(self, fresh: Site, tmp_path):
        content = nifti(painted() * 0, fresh.truth["case 07"].geometry, tmp_path)
        refused = submit(fresh, "case 07", content, "x.nii.gz", [{"name": "liver"}])
        assert refused.status_code == 400
        assert "no structure has voxels" in refused.json()["detail"]
        assert fresh.services.labels.history("case 07") == []

    def test_annotators_who_always_look_for_everything(self, tmp_path):
        with opened(tmp_path / "w", labels={"structures": ["liver", "spleen", "aorta"], "unmarked": "absent"}) as site:
            content = nifti((painted() == 2).astype(np.uint8), site.truth["case 07"].geometry, tmp_path)
            names = [{"name": "spleen"}, {"name": "liver"}]
            assert submit(site, "case 07", content, "x.nii.gz", names).status_code == 200
            label = site.services.labels.newest("case 07", "final")
            assert label.states == {"spleen": "segmented", "liver": "absent", "aorta": "absent"}
            assert [s.algorithm for s in label.segments] == ["SEMIAUTOMATIC", "MANUAL", "MANUAL"]

    @pytest.mark.parametrize("name", ["x.nrrd", "x.nii", "x.bin"])
    def test_other_formats(self, fresh: Site, tmp_path, name):
        geometry = fresh.truth[fresh.series].geometry
        content = painted().tobytes() if name == "x.bin" else nifti(painted(), geometry, tmp_path, name)
        names = [{"name": "liver", "color": [255, 0, 0]}, {"name": "spleen"}]
        answer = submit(fresh, fresh.series, content, name, names, tag="version_2")
        assert answer.status_code == 200, answer.text
        assert (downloaded(fresh, fresh.series, "version_2", tmp_path) == painted()).all()
        assert note(fresh, fresh.series, "version_2")["label_info"][0]["color"] == [255, 0, 0]

    def test_a_seg_nrrd_brings_its_own_names(self, fresh: Site, tmp_path):
        content = seg_nrrd(fresh, tmp_path, {"spleen": 2, "liver": 1})
        assert submit(fresh, "case 07", content, "x.seg.nrrd", [{"name": "wrong"}]).status_code == 200
        label = fresh.services.labels.newest("case 07", "final")
        mask = fresh.services.labels.mask(label)
        by_name = {segment.name: mask.voxels_of(segment.number) for segment in label.segments}
        assert (by_name["liver"] == (painted() == 1)).all()
        assert (by_name["spleen"] == (painted() == 2)).all()

    def test_the_download_has_a_content_disposition(self, fresh: Site, tmp_path):
        content = nifti(painted(), fresh.truth[fresh.series].geometry, tmp_path)
        submit(fresh, fresh.series, content, "x.nii.gz", [{"name": "liver"}, {"name": "spleen"}])
        answer = fresh.client.get("/datastore/label", params={"label": fresh.series, "tag": "final"})
        assert answer.headers["content-disposition"] == f'attachment; filename="{fresh.series}.nii.gz"'

    def test_a_mask_on_another_grid_is_refused_in_words(self, fresh: Site, tmp_path):
        geometry = fresh.truth["case 07"].geometry
        moved = Geometry(SHAPE, geometry.affine + np.diag([0.1, 0, 0, 0]))
        answer = submit(fresh, "case 07", nifti(painted(), moved, tmp_path), "x.nii.gz", None)
        assert answer.status_code in (400, 422)
        assert "voxels" in answer.json()["detail"]
        assert fresh.client.get("/datastore/").json()["completed"] == 0

    def test_what_is_missing_is_said(self, fresh: Site):
        assert submit(fresh, "nowhere", b"x", "x.nii.gz", None).status_code == 404
        assert submit(fresh, "case 07", b"not an image", "x.nii.gz", None).status_code == 400
        assert fresh.client.put("/datastore/label", params={"image": "case 07"}).status_code == 400
        assert fresh.client.get("/datastore/label", params={"label": "case 07", "tag": "final"}).status_code == 404
        assert fresh.client.get("/datastore/label/info", params={"label": "case 07", "tag": "final"}).json() == {}

    def test_notes_and_deletion(self, fresh: Site, tmp_path):
        content = nifti(painted(), fresh.truth["case 07"].geometry, tmp_path)
        review = {"status": "approved", "level": "easy", "approvedBy": "cy", "comment": "fine", "editTime": 5}
        submit(fresh, "case 07", content, "x.nii.gz", [{"name": "liver"}, {"name": "spleen"}], segmentationMeta=review)
        assert fresh.services.labels.newest("case 07", "final").comment == "fine"
        where = {"label": "case 07", "tag": "final"}
        sent = {"params": json.dumps({"segmentationMeta": {**review, "status": "flagged"}})}
        assert fresh.client.put("/datastore/updatelabelinfo", params=where, data=sent).status_code == 200
        more = {"info": json.dumps({"who": "me"})}
        answer = fresh.client.put("/datastore/label/info", params=where, data=more)
        assert (answer.status_code, answer.json()) == (200, None)
        info = fresh.client.get("/datastore/label/info", params=where).json()
        assert (info["segmentationMeta"]["status"], info["who"], info["client_id"]) == ("flagged", "me", "anna")
        here = {"image": "case 07", "tag": "final"}
        assert fresh.client.head("/datastore/label", params=here).status_code == 200
        answer = fresh.client.delete("/datastore/label", params={"id": "case 07", "tag": "final"})
        assert (answer.status_code, answer.json()) == (200, {})
        assert fresh.client.head("/datastore/label", params=here).status_code == 404
        assert fresh.client.get("/datastore/").json()["completed"] == 0


class TestImages:
    def test_checksums(self, site: Site):
        digest = hashlib.sha512(site.client.get("/datastore/image", params={"image": "case 07"}).content).hexdigest()
        for check, status in ((f"SHA512:{digest}", 200), (f"SHA512:{digest[1:]}0", 404), ("", 200), ("ROT13:x", 400)):
            params = {"image": "case 07", "check_sum": check}
            assert site.client.head("/datastore/image", params=params).status_code == status
        assert site.client.head("/datastore/image", params={"image": "nowhere"}).status_code == 404

    def test_the_download_has_a_length_and_a_name(self, site: Site):
        answer = site.client.get("/datastore/image", params={"image": site.series})
        assert int(answer.headers["content-length"]) == len(answer.content) > 0
        assert answer.headers["content-disposition"] == f'attachment; filename="{site.series}.nii"'

    @pytest.mark.parametrize("path", ["/datastore/", "/datastore/image"])
    def test_an_upload_becomes_a_case(self, fresh: Site, tmp_path, path):
        geometry = fresh.truth["case 07"].geometry
        content = nifti(fresh.truth["case 07"].voxels[:6], geometry, tmp_path)
        data = {"params": json.dumps({"client_id": "anna"})}
        name = "Größe 1.2"
        answer = fresh.client.put(path, params={"image": name}, data=data, files={"file": ("/x/y.nii.gz", content)})
        assert (answer.status_code, answer.json()) == (200, {"image": name}), answer.text
        assert fresh.mask("clicks", name, foreground=[[1, 1, 1]]).shape == (6, 20, 16)
        assert fresh.client.get("/datastore/").json()["total"] == 4
        answer = fresh.client.get("/datastore/image", params={"image": name})
        assert "content-disposition" in answer.headers
        assert fresh.client.delete(path, params={"id": name}).json() == {}
        assert fresh.client.head("/datastore/image", params={"image": name}).status_code == 404

    def test_without_an_id_it_is_the_file_name(self, fresh: Site, tmp_path):
        content = nifti(fresh.truth["case 07"].voxels, fresh.truth["case 07"].geometry, tmp_path)
        answer = fresh.client.put("/datastore/image", files={"file": (r"C:\data\1.2.840.nii.gz", content)})
        assert answer.json() == {"image": "1.2.840"}

    def test_an_image_of_the_archive_is_not_replaced(self, fresh: Site, tmp_path):
        content = nifti(fresh.truth["case 07"].voxels[:6], fresh.truth["case 07"].geometry, tmp_path)
        answer = fresh.client.put("/datastore/", params={"image": "case 07"}, files={"file": ("a.nii.gz", content)})
        assert answer.status_code == 409
        assert fresh.mask("clicks", "case 07").shape == SHAPE

    @pytest.mark.parametrize("image", ["../../up", "a/b", "..", "x\x00y", r"a\b", "x" * 300])
    def test_no_name_leads_to_other_folders(self, site: Site, tmp_path, image):
        content = nifti(site.truth["case 07"].voxels, site.truth["case 07"].geometry, tmp_path)
        before = {p for p in tmp_path.rglob("*") if "workspace" not in p.parts}
        answer = site.client.put("/datastore/", params={"image": image}, files={"file": ("a.nii.gz", content)})
        assert answer.status_code == 400
        assert {p for p in tmp_path.rglob("*") if "workspace" not in p.parts} == before
        assert site.client.get("/datastore/").json()["total"] == 3

    def test_the_slice_that_slicer_sends_along_is_no_case(self, fresh: Site):
        datasets, _ = ct_series((3, 8, 7), seed=5)
        answer = fresh.client.put("/datastore/", files={"file": ("IM1.dcm", encode(datasets[0]))})
        assert answer.status_code == 200, answer.text
        assert fresh.client.get("/datastore/").json()["total"] == 3
        assert set(fresh.client.get("/datastore/?output=all").json()["objects"]) == set(fresh.truth)

    def test_notes_about_an_image(self, fresh: Site):
        sent = {"info": json.dumps({"difficulty": "hard"})}
        answer = fresh.client.put("/datastore/image/info", params={"image": "case 07"}, data=sent)
        assert (answer.status_code, answer.json()) == (200, None)
        info = fresh.client.get("/datastore/image/info", params={"image": "case 07"}).json()
        assert (info["difficulty"], info["name"]) == ("hard", "case 07.nii")

    def test_the_whole_dataset_in_one_file(self, fresh: Site, tmp_path):
        content = nifti(painted(), fresh.truth["case 07"].geometry, tmp_path)
        submit(fresh, "case 07", content, "x.nii.gz", [{"name": "liver"}, {"name": "spleen"}])
        pairs = fresh.client.get("/datastore/", params={"output": "train"}).json()
        answer = fresh.client.get("/datastore/dataset")
        assert int(answer.headers["content-length"]) == len(answer.content)
        archive = zipfile.ZipFile(io.BytesIO(answer.content))
        assert sorted(archive.namelist()) == sorted([pairs[0]["image"], pairs[0]["label"], "metadata.json"])
        image = fresh.client.get("/datastore/image", params={"image": "case 07"}).content
        assert archive.read(pairs[0]["image"]) == image
        assert fresh.client.get("/datastore/dataset?limit_cases=0").status_code == 200
        assert not list((tmp_path / "workspace" / "incoming").iterdir())


class TestSessions:
    def create(self, site: Site, tmp_path, **query: Any) -> dict[str, Any]:
        content = nifti(site.truth["case 07"].voxels[:6], site.truth["case 07"].geometry, tmp_path)
        answer = site.client.put(
            "/session/", params=query, files=[("files", ("a.nii.gz", content))], data={"client_id": "anna"}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def test_a_session_is_an_image_for_a_while(self, fresh: Site, tmp_path):
        created = self.create(fresh, tmp_path)
        session_id = created["session_id"]
        assert created["session_info"]["expiry"] == pytest.approx(3600, abs=2)
        got = fresh.client.get(f"/session/{session_id}", params={"update_ts": True}).json()
        assert got["name"] == session_id
        answer = fresh.client.get(f"/session/{session_id}", params={"image": True})
        assert answer.headers["content-disposition"]
        query = {"image": "Volume 1", "session_id": session_id, "output": "image"}
        data = {"params": json.dumps({"foreground": [[1, 1, 1]], "result_compress": False})}
        answer = fresh.client.post("/infer/clicks", params=query, data=data)
        assert answer.status_code == 200, answer.text
        assert len(answer.content.partition(b"\n\n")[2]) == 6 * 20 * 16
        assert fresh.client.get("/datastore/").json()["total"] == 3
        assert self.next_ids(fresh) == set(fresh.truth)
        assert fresh.client.delete(f"/session/{session_id}").json()["name"] == session_id
        assert fresh.client.delete(f"/session/{session_id}").status_code == 404
        assert fresh.client.post("/infer/clicks", params=query, data=data).status_code == 404

    def next_ids(self, site: Site) -> set[str]:
        return {
            site.client.post("/activelearning/first", json={"client_id": str(n)}).json().get("id") for n in range(3)
        }

    def test_a_dicom_series_is_many_files(self, fresh: Site):
        datasets, truth = ct_series((5, 8, 7), orientation="oblique", reversed=True, seed=5)
        files = [("files", (f"IM{n}.dcm", encode(dataset))) for n, dataset in enumerate(datasets)]
        session_id = fresh.client.put("/session/", files=files).json()["session_id"]
        query = {"session_id": session_id, "output": "image"}
        data = {"params": json.dumps({"foreground": [[6, 1, 0]], "radius": 0, "result_compress": False})}
        answer = fresh.client.post("/infer/clicks", params=query, data=data)
        mask = np.frombuffer(answer.content.partition(b"\n\n")[2], np.uint8).reshape(truth.voxels.shape)
        assert np.argwhere(mask).tolist() == [[0, 1, 6]]
        assert fresh.client.put("/session/?uncompress=true", files=files).status_code == 501
        assert fresh.client.put("/session/").status_code == 400

    def test_an_expiry_can_be_shorter_and_not_longer(self, fresh: Site, tmp_path):
        assert self.create(fresh, tmp_path, expiry=60)["session_info"]["expiry"] == pytest.approx(60, abs=2)
        assert self.create(fresh, tmp_path, expiry=10**6)["session_info"]["expiry"] == pytest.approx(3600, abs=2)

    def test_an_unknown_session_lets_slicer_heal_itself(self, site: Site):
        for unknown in ("nowhere", "case+07", site.series):
            answer = site.client.get(f"/session/{unknown}")
            assert (answer.status_code, answer.json()) == (200, None)
            assert site.client.delete(f"/session/{unknown}").status_code == 404
