from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from monai.networks.nets import BasicUNet, SegResNet, UNet

from app.errors import BadFile, BadOption
from app.models.registry import MODEL_TYPES
from app.models.trained import importing
from app.models.trained.deepedit import DEEPEDIT
from app.models.trained.importing import MonaiLabelImport
from app.models.trained.networks import build_network, load_weights

FEATURES = (32, 64, 128, 256, 512, 32)


def import_monailabel(file: Path, type_: str, labels: tuple[str, ...], into: Path, **allow: bool) -> Any:
    importer = MODEL_TYPES.get(type_).importer
    assert importer is not None
    return importer(file, labels, into, **allow)


def unet(classes: int, **arguments: Any) -> torch.nn.Module:
    return UNet(3, 1, classes, [16, 32, 64, 128, 256], [2, 2, 2, 2], num_res_units=2, **arguments)


def imported(folder: Path, spec_folder: str = "version") -> torch.nn.Module:
    from app.models.trained.spec import read_version

    version = read_version(folder / spec_folder)
    network = build_network(version.spec)
    load_weights(network, folder / spec_folder / "weights.pt", version.sha256)
    return network.eval()


def test_deepgrow_2d_answers_as_before_with_rows_and_columns_swapped(tmp_path: Path) -> None:
    original = BasicUNet(spatial_dims=2, in_channels=3, out_channels=1, features=FEATURES).eval()
    torch.save(original.state_dict(), tmp_path / "deepgrow_2d.pt")
    version = import_monailabel(tmp_path / "deepgrow_2d.pt", "deepgrow_2d", (), tmp_path / "version")

    picture = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        expected = original(picture.transpose(-1, -2)).transpose(-1, -2)
        np.testing.assert_allclose(imported(tmp_path)(picture), expected, atol=1e-4)
    assert version.spec.patch == (1, 256, 256)
    assert version.spec.intensity == "shift:208:388"
    assert version.spec.labels == ()


def test_segmentation_answers_as_before_with_axes_reversed(tmp_path: Path) -> None:
    original = unet(3, norm="batch").eval()
    torch.save({"model": original.state_dict(), "epoch": torch.tensor(7)}, tmp_path / "segmentation.pt")
    version = import_monailabel(tmp_path / "segmentation.pt", "segmentation", ("liver", "spleen"), tmp_path / "version")

    volume = torch.randn(1, 1, 16, 32, 48)
    with torch.no_grad():
        expected = original(volume.permute(0, 1, 4, 3, 2)).permute(0, 1, 4, 3, 2)
        np.testing.assert_allclose(imported(tmp_path)(volume), expected, atol=1e-4)
    assert version.spec.labels == ("liver", "spleen")
    assert version.spec.network == "UNet"


def test_segresnet_is_told_from_unet(tmp_path: Path) -> None:
    original = SegResNet(
        spatial_dims=3, in_channels=1, out_channels=2, init_filters=32, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1)
    )
    torch.save(original.state_dict(), tmp_path / "model.pt")
    version = import_monailabel(tmp_path / "model.pt", "segmentation", ("liver",), tmp_path / "version")

    assert version.spec.network == "SegResNet"


def test_deepedits_flat_step_moves_to_the_first_axis() -> None:
    """The whole network has 31 million weights, so only its description is looked at, and a small one is turned."""
    importer = DEEPEDIT.importer
    assert isinstance(importer, MonaiLabelImport)
    (ours,) = importer.networks(("spleen",))
    theirs = importing._turned_back(ours)
    assert theirs.arguments["strides"] == [1, 2, 2, 2, 2, [2, 2, 1]]
    assert theirs.arguments["upsample_kernel_size"] == [2, 2, 2, 2, [2, 2, 1]]
    assert (ours.arguments["in_channels"], ours.arguments["out_channels"]) == (3, 2)

    small = {"in_channels": 3, "out_channels": 2, "kernel_size": [3, 3, 3], "filters": [4, 8, 8]}
    original = build_network(_small(theirs, small)).eval()
    turned = build_network(_small(ours, small)).eval()
    turned.load_state_dict({name: importer.turned(tensor) for name, tensor in original.state_dict().items()})
    volume = torch.randn(1, 3, 8, 16, 24)
    with torch.no_grad():
        expected = original(volume.permute(0, 1, 4, 3, 2)).permute(0, 1, 4, 3, 2)
        np.testing.assert_allclose(turned(volume), expected, atol=1e-4)


def _small(spec: Any, changes: dict[str, Any]) -> Any:
    from dataclasses import replace

    arguments = {**spec.arguments, **changes}
    for name in ("strides", "upsample_kernel_size"):
        arguments[name] = spec.arguments[name][-3 if name == "strides" else -2 :]
    arguments["strides"] = [1, *arguments["strides"][1:]]
    return replace(spec, arguments=arguments)


def test_torchscript_is_only_loaded_when_told_to(tmp_path: Path) -> None:
    network = torch.jit.trace(unet(2).eval(), torch.zeros(1, 1, 32, 32, 32))
    network.save(str(tmp_path / "model.ts"))
    with pytest.raises(BadOption, match="TorchScript"):
        import_monailabel(tmp_path / "model.ts", "segmentation", ("liver",), tmp_path / "version")
    version = import_monailabel(
        tmp_path / "model.ts", "segmentation", ("liver",), tmp_path / "version", allow_code=True
    )
    assert version.spec.network == "UNet"


@pytest.mark.parametrize(("kind", "labels"), [("deepgrow_2d", ("liver",)), ("segmentation", ()), ("deepedit", ())])
def test_labels_must_fit_the_kind(tmp_path: Path, kind: str, labels: tuple[str, ...]) -> None:
    with pytest.raises(BadOption):
        import_monailabel(tmp_path / "model.pt", kind, labels, tmp_path / "version")


def test_files_that_fit_nothing_say_what_was_tried(tmp_path: Path) -> None:
    torch.save(unet(3).state_dict(), tmp_path / "model.pt")
    with pytest.raises(BadFile, match="SegResNet with 1 labels"):
        import_monailabel(tmp_path / "model.pt", "segmentation", ("liver",), tmp_path / "version")
    assert not (tmp_path / "version").exists()


@pytest.mark.parametrize("content", [{"model": print}, [1, 2], {"a": 1}])
def test_files_that_hold_no_weights_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(BadFile):
        import_monailabel(tmp_path / "model.pt", "segmentation", ("liver",), tmp_path / "version")


def test_a_file_that_is_not_there_is_a_bad_file(tmp_path: Path) -> None:
    with pytest.raises(BadFile):
        import_monailabel(tmp_path / "none.pt", "segmentation", ("liver",), tmp_path / "version")


def test_compressed_files_are_refused_before_they_are_inflated(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(16 << 20)}, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "model.pt", "w", 8) as packed:
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry))
    assert (tmp_path / "model.pt").stat().st_size < 1 << 20
    with patch("torch.load") as load, pytest.raises(BadFile, match="is compressed"):
        import_monailabel(tmp_path / "model.pt", "segmentation", ("liver",), tmp_path / "version")
    assert not load.called


def test_files_that_declare_more_bytes_than_they_have_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(4)}, tmp_path / "model.pt")
    content = bytearray((tmp_path / "model.pt").read_bytes())
    at = content.rindex(b"PK\1\2")
    content[at + 24 : at + 28] = (1 << 30).to_bytes(4, "little")  # the uncompressed size of the last entry
    (tmp_path / "model.pt").write_bytes(content)
    with patch("torch.load") as load, pytest.raises(BadFile, match="more bytes than it has"):
        import_monailabel(tmp_path / "model.pt", "segmentation", ("liver",), tmp_path / "version")
    assert not load.called
