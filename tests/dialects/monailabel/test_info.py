"""`/info/` and `/activelearning/` (docs/protocols/monailabel.md, sections 3.1 and 7)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import SimpleITK as sitk

from tests.dialects.monailabel.site import MODELS, STRUCTURES, Site


class TestInfo:
    def test_keeps_the_rules(self, site: Site):
        info = site.client.get("/info/").json()
        assert not info.get("config")
        assert isinstance(info["labels"], list)
        assert "background" not in info["labels"]
        assert info["datastore"] == {"total": 3, "completed": 0, "label_tags": {}}
        assert "random" in info["strategies"]
        assert None not in info["train_stats"].values()
        for model in info["models"].values():
            assert model["type"] in {"deepgrow", "deepedit", "segmentation", "scribbles"}
            assert model["description"]
            assert model["dimension"] in (2, 3)
            assert list(model["labels"].values()) == list(range(1, len(model["labels"]) + 1))
            assert set(model["labels"]) <= set(info["labels"])
            for option in model["config"].values():
                assert not isinstance(option, list) or all(isinstance(one, str) for one in option)

    def test_kinds_have_the_types_that_viewers_know(self, site: Site):
        models = site.client.get("/info/").json()["models"]
        types = {name: model["type"] for name, model in models.items()}
        assert types["clicks"] == "deepgrow"
        assert types["bands"] == "segmentation"
        assert types["Histogram+GraphCut"] == "scribbles"

    def test_a_model_that_cannot_answer_yet_is_never_the_first_of_its_type(self, site: Site):
        models = site.client.get("/info/").json()["models"]
        assert list(models)[-1] == "untrained"
        assert "Not trained yet" in models["untrained"]["description"]
        assert list(models)[:-1] == [name for name in MODELS if name != "untrained"]

    def test_the_licence_is_told(self, site: Site):
        model = site.client.get("/info/").json()["models"]["clicks"]
        assert "Apache-2.0" in model["description"]
        assert model["licence"] == "Apache-2.0"

    def test_trainers_go_by_their_models_name(self, site: Site):
        trainers = site.client.get("/info/").json()["trainers"]
        assert list(trainers) == ["untrained"]
        assert trainers["untrained"]["config"]["max_epochs"] == 50
        assert trainers["untrained"]["labels"] == {name: n for n, name in enumerate(STRUCTURES, start=1)}


class TestNextSample:
    def ask(self, site: Site, strategy: str = "first", **body: object) -> dict:
        answer = site.client.post(f"/activelearning/{strategy}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def test_a_series(self, fresh: Site, tmp_path):
        sample = self.ask(fresh, client_id="anna")
        assert sample["id"] == fresh.series
        assert sample["name"].endswith((".nii", ".nii.gz"))
        assert "path" not in sample
        assert sample["SeriesInstanceUID"] == fresh.series
        assert sample["StudyInstanceUID"]
        assert sample["PatientID"]
        assert sample["Modality"] == "CT"
        assert sample["RetrieveURL"].endswith(fresh.series)
        assert sample["strategy"]["first"]["client_id"] == "anna"
        assert sample["reason"]
        content = fresh.client.get("/datastore/image", params={"image": sample["id"]}).content
        assert sample["checksum"] == f"SHA256:{hashlib.sha256(content).hexdigest()}"
        (tmp_path / Path(sample["name"]).name).write_bytes(content)
        image = sitk.ReadImage(str(tmp_path / Path(sample["name"]).name))
        assert image.GetSize() == fresh.truth[fresh.series].voxels.shape[::-1]
        assert (sitk.GetArrayFromImage(image) == fresh.truth[fresh.series].voxels).all()

    def test_two_annotators_get_two_cases_and_one_gets_the_same_again(self, fresh: Site):
        anna, bo = self.ask(fresh, client_id="anna"), self.ask(fresh, client_id="bo")
        assert anna["id"] != bo["id"]
        assert self.ask(fresh, client_id="anna")["id"] == anna["id"]

    def test_nothing_left_is_an_empty_object(self, fresh: Site):
        seen = {self.ask(fresh, client_id=f"client {n}")["id"] for n in range(3)}
        assert seen == set(fresh.truth)
        assert self.ask(fresh, client_id="late") == {}

    def test_a_volume_file_says_nothing_of_dicom(self, fresh: Site):
        sample = self.ask(fresh, "last", client_id="anna")
        assert sample["id"] == "case 07"
        assert not {"PatientID", "SeriesInstanceUID"} & set(sample)

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"client_id": null, "what": [1, 2]}'])
    def test_any_body_will_do(self, fresh: Site, body):
        answer = fresh.client.post("/activelearning/random", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 200
        assert answer.json()["id"] in fresh.truth

    def test_an_unknown_strategy_is_named(self, site: Site):
        answer = site.client.post("/activelearning/no-such", json={})
        assert answer.status_code == 404
        assert "random" in json.dumps(answer.json())
