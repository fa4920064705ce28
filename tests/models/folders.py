"""Model folders with tiny networks of random weights, made on the spot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from app.core.training import ModelSpec
from app.models.trained.networks import build_network
from app.models.trained.spec import Version, write_version

PATCH = 16
CONVOLUTIONS = {
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "dropout_op": None,
    "nonlin": "torch.nn.LeakyReLU",
}


def tiny_nninteractive(
    folder: Path,
    *,
    seed: int = 0,
    checkpoint: dict[str, Any] | None = None,
    patch: int = PATCH,
    background: float = 0.0,
) -> Path:
    """A folder in nnInteractive's format with a two-stage network; `checkpoint` adds to or replaces its content.

    What is to be zoomed and refined needs a `patch` larger than 48, because the library leaves a margin of 24 voxels;
    and few voxels to refine, which `background`, added to the background's logits, sees to.
    """
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [4, 8],
            "kernel_sizes": [[3, 3, 3]] * 2,
            "strides": [[1, 1, 1], [2, 2, 2]],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op_kwargs": None,
            "nonlin_kwargs": {"inplace": True},
            **CONVOLUTIONS,
        },
        "_kw_requires_import": sorted(CONVOLUTIONS),
    }
    configuration = {
        "data_identifier": "tiny",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [patch] * 3,
        "median_image_size_in_voxels": [32.0] * 3,
        "spacing": [1.0] * 3,
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": False,
        "architecture": architecture,
    }
    plans = {
        "dataset_name": "Dataset902_Tiny",
        "plans_name": "tinyPlans",
        "original_median_spacing_after_transp": [1.0] * 3,
        "original_median_shape_after_transp": [32] * 3,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "none",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {},
        "configurations": {"3d_fullres": configuration},
    }
    dataset = {"channel_names": {"0": "image"}, "labels": {"background": 0, "object": 1}, "file_ending": ".nii.gz"}
    info = {
        "inference_class": "nnInteractiveInferenceSession",
        "supported_interactions": {"points": True, "bbox2d": True, "bbox3d": False, "scribble": True, "lasso": True},
        "interaction_channels": 6,
    }
    (folder / "fold_0").mkdir(parents=True)
    for name, content in {"plans": plans, "dataset": dataset, "inference_info": info}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "LICENSE").write_text("\nTest licence 1.0\nmore text\n")
    saved = {
        "network_weights": _nninteractive_weights(plans, seed, background),
        "trainer_name": "nnInteractiveTrainer_stub",
        "init_args": {"configuration": "3d_fullres"},
        **(checkpoint or {}),
    }
    torch.save(saved, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def clicked_nninteractive(folder: Path, patch: int) -> Path:
    """A folder in nnInteractive's format whose network was set by hand: it sees a ball around every click and nothing
    else, so that its answers are small and need no zoom. It computes as much as a random one."""
    tiny_nninteractive(folder, patch=patch)
    checkpoint = folder / "fold_0" / "checkpoint_final.pth"
    saved = torch.load(checkpoint, weights_only=True)
    for name, tensor in saved["network_weights"].items():
        norm = "norm" in name or "all_modules.1" in name
        tensor[:] = 1.0 if norm and name.endswith("weight") else 0.0
        kernel = tensor.ndim == 5
        if "encoder.stages.0" in name and kernel:
            tensor[0, 4, 1, 1, 1] = 1  # what was clicked and included
        if name.startswith("decoder.stages.0") and kernel:
            tensor[0, 4, 1, 1, 1] = 1  # the encoder's first channel, behind four from below
    saved["network_weights"]["decoder.seg_layers.0.weight"][1, 0] = 1
    saved["network_weights"]["decoder.seg_layers.0.bias"][1] = -1
    torch.save(saved, checkpoint)
    return folder


def _nninteractive_weights(plans: dict[str, Any], seed: int, background: float) -> dict[str, torch.Tensor]:
    from nnInteractive.trainer.nnInteractiveTrainer import nnInteractiveTrainer_stub
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    torch.manual_seed(seed)
    network = nnInteractiveTrainer_stub.build_network_architecture(
        manager, manager.get_configuration("3d_fullres"), 8, 2, enable_deep_supervision=False
    )
    weights = dict(network.state_dict())
    weights["decoder.seg_layers.0.bias"][0] += background
    return weights


def tiny_spec(kind: str, labels: tuple[str, ...] = ("left", "right"), *, spacing: float = 0.0) -> ModelSpec:
    """A small BasicUNet for `deepgrow_2d`, `deepgrow_3d`, `deepedit` or `segmentation`."""
    flat = kind == "deepgrow_2d"
    grows = kind.startswith("deepgrow")
    channels = {"deepedit": len(labels) + 2, "segmentation": 1}.get(kind, 3)
    arguments = {
        "spatial_dims": 2 if flat else 3,
        "in_channels": channels,
        "out_channels": 1 if grows else len(labels) + 1,
        "features": [4, 4, 4, 4, 4, 4],
        "norm": ["group", {"num_groups": 2}],  # the innermost level is one voxel, too few for an instance norm
    }
    patch = (1, 32, 32) if flat else (16, 16, 16)
    return ModelSpec(kind, "BasicUNet", arguments, () if grows else labels, (spacing,) * 3, patch)


def tiny_version(folder: Path, kind: str, *, seed: int = 0, spacing: float = 0.0) -> Version:
    """A version folder of `tiny_spec(kind)` with random weights."""
    spec = tiny_spec(kind, spacing=spacing)
    torch.manual_seed(seed)
    return write_version(folder, spec, build_network(spec).state_dict())


def known_version(
    folder: Path,
    spec: ModelSpec,
    weights: list[list[float]],
    biases: list[float],
    threshold: float = 0.5,
) -> Version:
    """A BasicUNet set by hand, so that its answer is known: each voxel's logits are `weights` (out x in) times its
    channels plus `biases`, where the image (channel 0) counts only above `threshold`."""
    inputs = len(weights[0])
    features = max(2, inputs)  # BasicUNet halves them
    arguments = {
        "spatial_dims": 2 if spec.patch[0] == 1 else 3,
        "in_channels": inputs,
        "out_channels": len(biases),
        "features": [features] * 6,
        "norm": None,
        "act": "relu",
    }
    spec = replace(spec, network="BasicUNet", arguments=arguments)
    state = {name: torch.zeros_like(tensor) for name, tensor in build_network(spec).state_dict().items()}
    for name in ("conv_0.conv_0", "conv_0.conv_1", "upcat_1.convs.conv_0", "upcat_1.convs.conv_1"):
        kernel = state[f"{name}.conv.weight"]
        centre = (1,) * (kernel.ndim - 2)
        for channel in range(inputs):
            kernel[(channel, channel, *centre)] = 1  # after the concatenation the encoder's channels come first
    state["conv_0.conv_0.conv.bias"][0] = -threshold
    state["final_conv.weight"][:, :inputs] = torch.tensor(weights).reshape(-1, inputs, *(1,) * len(centre))
    state["final_conv.bias"] = torch.tensor(biases)
    return write_version(folder, spec, state)


def bundle(folder: Path, channels: dict[str, str], outputs: int, images: int = 1, spacing: float = 1.0) -> Path:
    """A bundle whose network is a single 1 x 1 x 1 convolution, over oriented and resampled images."""
    metadata = {
        "version": "0.3.1",
        "description": "finds bright balls",
        "copyright": "Copyright (c) Nobody",
        "network_data_format": {
            "inputs": {"image": {"num_channels": images}},
            "outputs": {"pred": {"channel_def": channels}},
        },
    }
    inference: dict[str, Any] = {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "device": "$torch.device('cuda')",
        "network_def": {
            "_target_": "torch.nn.Conv3d",
            "in_channels": 1,
            "out_channels": outputs,
            "kernel_size": 1,
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [spacing] * 3, "mode": "bilinear"},
                {
                    "_target_": "ScaleIntensityRanged",
                    "keys": "image",
                    "a_min": 0,
                    "a_max": 100,
                    "b_min": 0.0,
                    "b_max": 1.0,
                },
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "sw_batch_size": 2},
    }
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    weight = torch.linspace(-1, 1, outputs).reshape(outputs, 1, 1, 1, 1) if outputs > 2 else torch.tensor([0.0, 2.0])
    state = {"weight": weight.reshape(outputs, 1, 1, 1, 1), "bias": torch.zeros(outputs)}
    if outputs == 2:
        state["bias"] = torch.tensor([0.0, -1.0])  # the second class wins above one half
    torch.save(state, folder / "models" / "model.pt")
    return folder
