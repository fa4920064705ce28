"""`/infer/` (docs/protocols/monailabel.md, section 5)."""

from __future__ import annotations

import gzip
import io
import threading

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from app.core.mask import Mask
from app.core.model import ModelCard
from app.models.device import Priority
from tests.catalog_counts import counted
from tests.dialects.monailabel.site import SHAPE, Site, multipart, nifti


def cube(*points: tuple[int, int, int], radius: int = 2) -> np.ndarray:
    """What the fake model answers to points `(k, j, i)`."""
    mask = np.zeros(SHAPE, np.uint8)
    for point in points:
        mask[tuple(slice(max(0, x - radius), x + radius + 1) for x in point)] = 1
    return mask


def read(content: bytes, tmp_path) -> sitk.Image:
    (tmp_path / "mask.nrrd").write_bytes(content)
    return sitk.ReadImage(str(tmp_path / "mask.nrrd"))


class TestAnswers:
    def test_without_output_there_are_params_and_a_file(self, site: Site, tmp_path):
        answer = site.infer("clicks", site.series, {"label": "liver", "foreground": [[5, 6, 3]]}, output="")
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert not {"transfer-encoding", "content-encoding"} & set(answer.headers)
        params, name, content = multipart(answer)
        assert params["label_names"] == {"liver": 1}
        assert name.endswith(".nrrd")
        assert "/" not in name
        image = read(content, tmp_path)
        assert image.GetPixelID() == sitk.sitkUInt8
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), cube((3, 6, 5)))

    def test_a_click_looks_its_case_up_once_and_waits_for_no_commit(self, site: Site):
        site.infer("clicks", site.series, {"label": "liver", "foreground": [[5, 6, 3]]})
        with counted() as counts:
            site.infer("clicks", site.series, {"label": "liver", "foreground": [[5, 6, 3], [9, 8, 5]]})
        assert counts == {"look-ups": 1, "writes": 0}

    def test_names_of_files_differ(self, site: Site):
        names = {multipart(site.infer("clicks", site.series, {}, output="all"))[1] for _ in range(3)}
        assert len(names) == 3

    def test_the_header_has_the_grid_of_the_image(self, site: Site, tmp_path):
        for case_id, truth in site.truth.items():
            image = read(site.infer("clicks", case_id, {"foreground": [[0, 0, 0]]}).content, tmp_path)
            assert image.GetSize() == SHAPE[::-1]
            np.testing.assert_allclose(image.GetOrigin(), truth.geometry.origin, atol=1e-6)
            np.testing.assert_allclose(image.GetSpacing(), truth.geometry.spacing, atol=1e-6)
            np.testing.assert_allclose(image.GetDirection(), truth.geometry.direction.ravel(), atol=1e-6)

    @pytest.mark.parametrize("compress", [True, False])
    def test_raw_or_gzip_as_asked(self, site: Site, compress):
        params = {"foreground": [[5, 6, 3]], "result_compress": compress}
        answer = site.infer("clicks", site.series, params)
        header, _, voxels = answer.content.partition(b"\n\n")
        lines = header.decode().splitlines()
        assert f"encoding: {'gzip' if compress else 'raw'}" in lines
        assert "type: unsigned char" in lines
        assert f"sizes: {SHAPE[2]} {SHAPE[1]} {SHAPE[0]}" in lines
        assert "space: left-posterior-superior" in lines
        assert (gzip.decompress(voxels) if compress else voxels) == cube((3, 6, 5)).tobytes()
        assert answer.headers["content-disposition"].startswith('attachment; filename="')

    def test_json_alone(self, site: Site):
        answer = site.infer("bands", site.series, {}, output="json")
        assert answer.json()["label_names"] == {"liver": 1, "spleen": 2}

    def test_another_output_is_refused(self, site: Site):
        assert site.infer("clicks", site.series, {}, output="asap").status_code == 422

    def test_dicom_seg_has_the_names_of_label_info(self, site: Site):
        params = {"label_info": [{"name": "Liver left"}, {"name": "Spleen"}]}
        answer = site.infer("bands", site.series, params, output="dicom_seg")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/dicom"
        seg = pydicom.dcmread(io.BytesIO(answer.content))
        assert [item.SegmentLabel for item in seg.SegmentSequence] == ["Liver left", "Spleen"]
        assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == site.series

    def test_dicom_seg_of_a_volume_file_is_refused_in_words(self, site: Site):
        answer = site.infer("bands", "case 07", {}, output="dicom_seg")
        assert answer.status_code == 400
        assert "DICOM series" in answer.json()["detail"]


class TestClicks:
    def test_empty_lists_are_an_empty_mask(self, site: Site):
        answer = site.infer("clicks", site.series, {"foreground": [], "background": []}, output="")
        assert answer.status_code == 200
        assert site.mask("clicks", site.series, foreground=[], background=[]).sum() == 0

    @pytest.mark.parametrize("case", [0, 1, 2])
    def test_slicer_and_ohif_get_the_same_mask(self, site: Site, case):
        """On an oblique and a sagittal series with reversed instance numbers, and on a volume file."""
        image = list(site.truth)[case]
        slicer = {"label": "liver", "client_id": "anna", "foreground": [[5, 6, 3], [12, 10, 7]], "background": []}
        ohif = {"foreground": [[5, 6, 3], [12, 10, 7]], "restore_label_idx": False}
        expected = cube((3, 6, 5), (7, 10, 12))
        np.testing.assert_array_equal(site.mask("clicks", image, **slicer, radius=2), expected)
        np.testing.assert_array_equal(site.mask("clicks", image, **ohif), expected)

    def test_clicks_add_up_and_can_be_taken_back(self, site: Site):
        one, two = [5, 6, 3], [12, 10, 7]
        sent = {"label": "liver", "client_id": "anna"}
        assert (site.mask("clicks", site.series, **sent, foreground=[one]) == cube((3, 6, 5))).all()
        both = cube((3, 6, 5), (7, 10, 12))
        assert (site.mask("clicks", site.series, **sent, foreground=[one, two]) == both).all()
        assert (site.mask("clicks", site.series, **sent, foreground=[one, two]) == both).all()
        assert (site.mask("clicks", site.series, **sent, foreground=[two]) == cube((7, 10, 12))).all()

    def test_background_clears(self, site: Site):
        point = [5, 6, 3]
        mask = site.mask("clicks", site.series, label="liver", foreground=[point], background=[[5, 6, 4]], radius=1)
        assert (mask == np.where(cube((4, 6, 5), radius=1), 0, cube((3, 6, 5), radius=1))).all()

    def test_equal_lists_mean_background_only(self, site: Site):
        assert site.mask("clicks", site.series, foreground=[[5, 6, 3]], background=[[5, 6, 3]]).sum() == 0

    def test_ohif_starts_another_structure_without_saying_so(self, site: Site):
        assert (site.mask("clicks", site.series, foreground=[[5, 6, 3]]) == cube((3, 6, 5))).all()
        assert (site.mask("clicks", site.series, foreground=[[12, 10, 7]]) == cube((7, 10, 12))).all()

    def test_structures_and_annotators_do_not_mix(self, site: Site):
        for client in ("anna", "bo"):
            for label, point in (("liver", [5, 6, 3]), ("spleen", [12, 10, 7])):
                mask = site.mask("clicks", site.series, client_id=client, label=label, foreground=[point])
                assert (mask == cube((point[2], point[1], point[0]))).all()

    def test_a_point_outside_counts_at_the_border(self, site: Site):
        assert (site.mask("clicks", site.series, foreground=[[16, -1, 99]]) == cube((8, 0, 15))).all()

    def test_a_box_may_be_given_backwards(self, site: Site):
        mask = site.mask("clicks", site.series, roi=[9, 4, 2, 7, 6, 3])
        assert set(zip(*np.nonzero(mask), strict=True)) == {
            (k, j, i) for k in range(3, 7) for j in range(2, 8) for i in range(4, 10)
        }

    def test_a_session_that_expired_is_replayed(self, site: Site):
        points = [[5, 6, 3], [12, 10, 7]]
        site.mask("clicks", site.series, label="liver", foreground=points[:1])
        site.services.prompting.close_all()
        mask = site.mask("clicks", site.series, label="liver", foreground=points)
        assert (mask == cube((3, 6, 5), (7, 10, 12))).all()

    def test_two_at_once_each_get_their_own(self, site: Site):
        found = {}

        def click(client: str, i: int) -> None:
            for n in range(1, 4):
                points = [[i, 4 * m, 4] for m in range(n)]
                found[client] = site.mask("clicks", site.series, client_id=client, foreground=points, radius=1)

        threads = [threading.Thread(target=click, args=(f"c{i}", i)) for i in range(0, 15, 3)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        for i in range(0, 15, 3):
            expected = cube(*((4, 4 * m, i) for m in range(3)), radius=1)
            np.testing.assert_array_equal(found[f"c{i}"], expected)

    @pytest.mark.parametrize("params", ['{"foreground": [[1, 2]]}', "[]", "{"])
    def test_nonsense_is_a_400_with_words(self, site: Site, params):
        answer = site.client.post("/infer/clicks", params={"image": site.series}, data={"params": params})
        assert answer.status_code == 400
        assert answer.json()["detail"]

    def test_params_cannot_choose_the_image(self, site: Site):
        answer = site.infer("clicks", "nowhere", {"image": site.series, "model": "bands", "output": "json"})
        assert answer.status_code == 404
        assert "nowhere" in answer.json()["detail"]

    def test_no_image_and_no_model(self, site: Site):
        assert site.infer("clicks", "", {}).status_code == 400
        assert site.infer("no-such-model", site.series, {}).status_code == 404
        assert site.infer("untrained", site.series, {}).status_code == 503


class TestAutomatic:
    def test_labels_are_numbered_from_one(self, site: Site):
        params, _, _ = multipart(site.infer("bands", site.series, {"client_id": "anna"}, output=""))
        assert params["label_names"] == {"liver": 1, "spleen": 2}
        assert set(np.unique(site.mask("bands", site.series))) == {0, 1, 2}

    def test_the_result_can_be_kept_as_a_label(self, site: Site):
        assert site.infer("bands", site.series, {"save_label": True}, output="json").status_code == 200
        label = site.services.labels.newest(site.series, "original")
        assert [segment.name for segment in label.segments] == ["liver", "spleen"]
        assert (site.services.labels.mask(label).labelmap() == site.mask("bands", site.series)).all()


class Editor:
    """Knows two structures: without points it finds nothing, with points it marks exactly those."""

    card = ModelCard(name="edit", kind="deepedit", description="", labels=("liver", "spleen"), version="1")

    def segment(self, volume, progress, options):
        return Mask.single(np.zeros(volume.geometry.shape, np.uint8), ["liver", "spleen"], volume.geometry)

    def segment_with_points(self, volume, points, progress, options):
        labelmap = np.zeros(volume.geometry.shape, np.uint8)
        for name, some in points.items():
            for point in some:
                labelmap[point] = ("background", "liver", "spleen").index(name)
        return Mask.single(labelmap, ["liver", "spleen"], volume.geometry)


class TestPointsPerLabel:
    @pytest.fixture(autouse=True)
    def _served(self, site: Site, monkeypatch):
        monkeypatch.setitem(site.services.models._models, "edit", Editor())

    def test_slicer_sends_every_label(self, site: Site):
        sent = {"liver": [[5, 6, 3], [0, 0, 0]], "spleen": [[12, 10, 7]], "label": "liver", "client_id": "anna"}
        mask = site.mask("edit", site.series, **sent)
        assert (mask[3, 6, 5], mask[0, 0, 0], mask[7, 10, 12], np.count_nonzero(mask)) == (1, 1, 2, 3)

    def test_ohif_sends_the_visited_ones_and_background(self, site: Site):
        mask = site.mask("edit", site.series, spleen=[[5, 6, 3], [99, 0, 0]], background=[[5, 6, 3]])
        assert (mask[0, 0, 15], np.count_nonzero(mask)) == (2, 1)

    def test_without_points_it_segments_on_its_own(self, site: Site):
        params, _, _ = multipart(site.infer("edit", site.series, {"liver": [], "spleen": []}, output=""))
        assert params["label_names"] == {"liver": 1, "spleen": 2}
        assert not site.mask("edit", site.series, liver=[], spleen=None).any()

    def test_nonsense_names_the_label(self, site: Site):
        answer = site.infer("edit", site.series, {"spleen": [[1, 2]]})
        assert answer.status_code == 400
        assert "spleen" in answer.json()["detail"]


SCRIBBLED = [
    {"name": "liver", "id": 1},
    {"name": "spleen", "id": 2},
    {"name": "background_scribbles", "id": 3},
    {"name": "foreground_scribbles", "id": 4},
]


class TestScribbles:
    def painted(self) -> np.ndarray:
        painted = np.zeros(SHAPE, np.uint8)
        painted[4, 9:12, 7:9] = 4
        painted[4, 1:18, 1] = 3
        painted[0, 0, 0] = 1
        return painted

    @pytest.mark.parametrize("name", ["scribbles.nii.gz", "scribbles.nrrd", "scribbles.bin"])
    def test_strokes_become_a_mask(self, site: Site, tmp_path, name):
        painted = self.painted()
        geometry = site.truth["case 07"].geometry
        content = painted.tobytes() if name.endswith(".bin") else nifti(painted, geometry, tmp_path, name)
        params = {"label_info": SCRIBBLED, "selected_label_name": "liver", "roi": []}
        files = {"label": (f"/tmp/{name}", content)}
        answer = site.infer("Histogram%2BGraphCut", "case 07", params, output="", files=files)
        assert answer.status_code == 200, answer.text
        told, _, nrrd = multipart(answer)
        assert told["label_names"] == {"liver": 1}
        mask = sitk.GetArrayFromImage(read(nrrd, tmp_path))
        assert mask[painted == 4].all()
        assert not mask[painted == 3].any()

    def test_without_strokes_it_says_what_is_missing(self, site: Site):
        answer = site.infer("Histogram%2BGraphCut", "case 07", {"label_info": SCRIBBLED})
        assert answer.status_code == 400
        assert "label" in answer.json()["detail"]


def test_a_file_that_comes_along_is_segmented_instead_of_the_image(site: Site, tmp_path):
    truth = site.truth["case 07"]
    smaller = nifti(truth.voxels[:5], truth.geometry, tmp_path, "mine.nii.gz")
    for points in ([[5, 6, 3]], [[5, 6, 3], [0, 0, 0]]):
        files = {"file": ("/home/anna/mine.nii.gz", smaller)}
        answer = site.infer("clicks", "case 07", {"foreground": points}, files=files)
        assert answer.status_code == 200, answer.text
        assert read(answer.content, tmp_path).GetSize() == (16, 20, 5)
    assert site.client.get("/info/").json()["datastore"]["total"] == 3


def test_info_answers_while_something_is_computed(site: Site):
    """At once during inference (docs/protocols/monailabel.md, sections 1.9 and 3.3)."""
    enough = threading.Event()
    busy = threading.Thread(target=site.services.device.run, args=(lambda: enough.wait(30), Priority.PROMPT, "bo"))
    waiting = threading.Thread(target=site.mask, args=("clicks", site.series), kwargs={"foreground": [[1, 1, 1]]})
    busy.start()
    waiting.start()
    try:
        for path in ("/info/", "/auth/", "/train/?check_if_running=true") * 3:
            site.client.get(path)
            # Both are still at it, so the answer waited for neither of them.
            assert busy.is_alive()
            assert waiting.is_alive()
        assert site.services.device.waiting <= 1  # the click, and nothing of what was asked
    finally:
        enough.set()
        busy.join()
        waiting.join()
