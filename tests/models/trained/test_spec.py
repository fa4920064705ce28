from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from app.core.training import ModelSpec
from app.errors import BadFile, IntegrityError, ModelNotTrained
from app.models.device import Device
from app.models.trained.networks import Served, build_network, load_weights
from app.models.trained.spec import read_version, read_weights, write_snapshot, write_version
from tests.models.folders import tiny_spec, tiny_version

CPU = Device("cpu", threads=1, precision="fp32")


def test_a_version_is_read_as_it_was_written(tmp_path: Path) -> None:
    spec = tiny_spec("segmentation", spacing=1.5)
    network = build_network(spec)
    written = write_version(tmp_path / "7", spec, network.state_dict())
    read = read_version(tmp_path / "7")

    assert read == written
    assert read.name == "7"
    assert read.spec == spec
    assert len(read.sha256) == 64
    other = build_network(spec)
    load_weights(other, tmp_path / "7" / "weights.pt", read.sha256)
    for name, tensor in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


def test_tuples_in_arguments_come_back_as_lists_and_still_build(tmp_path: Path) -> None:
    spec = ModelSpec(
        "segmentation",
        "UNet",
        {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": (4, 8), "strides": (2,)},
        ("one",),
        (0.0, 0.0, 0.0),
        (16, 16, 16),
    )
    build_network(write_version(tmp_path, spec).spec)


@pytest.mark.parametrize(("patch", "type_"), [((1, 32, 32), "deepgrow_2d"), ((16, 32, 32), "deepgrow_3d")])
def test_older_deepgrow_versions_are_of_the_type_of_their_patch(
    tmp_path: Path, patch: tuple[int, int, int], type_: str
) -> None:
    write_version(tmp_path, ModelSpec("deepgrow", "UNet", {}, (), (0.0, 0.0, 0.0), patch))
    assert json.loads((tmp_path / "model.json").read_text())["spec"]["kind"] == "deepgrow"
    assert read_version(tmp_path).spec.type == type_


def test_changed_weights_are_noticed(tmp_path: Path) -> None:
    version = tiny_version(tmp_path / "1", "segmentation")
    content = bytearray((tmp_path / "1" / "weights.pt").read_bytes())
    content[-1] ^= 1
    (tmp_path / "1" / "weights.pt").write_bytes(content)

    with pytest.raises(IntegrityError):
        read_weights(tmp_path / "1" / "weights.pt", version.sha256)
    with pytest.raises(IntegrityError):
        Served(tmp_path / "1", CPU).get()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2}', '{"format": 1, "spec": {"kind": "x"}}'])
def test_broken_descriptions_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(BadFile):
        read_version(tmp_path)


def test_weights_with_code_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1), "hook": print}, tmp_path / "weights.pt")
    with pytest.raises(BadFile, match="more than weights"):
        read_weights(tmp_path / "weights.pt")


@pytest.mark.parametrize(
    "network", ["Path", "os", "nn", "torch", "get_act_layer", "__builtins__", "No Such", "look_up_option"]
)
def test_only_networks_of_monai_are_built(network: str) -> None:
    with pytest.raises(BadFile, match="no network"):
        build_network(ModelSpec("segmentation", network, {}, (), (0, 0, 0), (16, 16, 16)))


def test_arguments_that_do_not_fit_are_named() -> None:
    with pytest.raises(BadFile, match="depth"):
        build_network(ModelSpec("segmentation", "BasicUNet", {"depth": 3}, (), (0, 0, 0), (16, 16, 16)))


def test_nothing_is_downloaded() -> None:
    with pytest.raises(BadFile, match="internet"):
        build_network(ModelSpec("segmentation", "ResNet", {"pretrained": True}, (), (0, 0, 0), (16, 16, 16)))


def test_without_weights_nothing_is_served(tmp_path: Path) -> None:
    write_version(tmp_path / "new", tiny_spec("segmentation"))
    for served in (Served(None, CPU), Served(tmp_path / "new", CPU)):
        assert not served.ready
        with pytest.raises(ModelNotTrained, match="train"):
            served.get()


def test_a_version_that_fails_to_load_leaves_the_old_one_serving(tmp_path: Path) -> None:
    tiny_version(tmp_path / "1", "segmentation")
    tiny_version(tmp_path / "2", "segmentation")
    described = json.loads((tmp_path / "2" / "model.json").read_text())
    described["spec"]["arguments"]["features"] = [8] * 6
    (tmp_path / "2" / "model.json").write_text(json.dumps(described))
    served = Served(tmp_path / "1", CPU)
    held = served.get()

    with pytest.raises(BadFile, match="don't fit"):
        served.use(tmp_path / "2")
    assert served.get() is held


def test_snapshots_are_newest_first(tmp_path: Path) -> None:
    version = tiny_version(tmp_path / "1", "segmentation")
    weights = build_network(version.spec).state_dict()
    for epoch in (2, 10, 4):
        write_snapshot(tmp_path / "1", epoch, weights)

    assert [path.name for path in read_version(tmp_path / "1").snapshots] == [
        "snapshot-0010.pt",
        "snapshot-0004.pt",
        "snapshot-0002.pt",
    ]
