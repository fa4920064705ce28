"""The starter model's folder in nnInteractive's own format: plans, capability file, network, checkpoint."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from nnInteractive.trainer.nnInteractiveTrainer import nnInteractiveTrainer_stub
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

PATCH = 64
CONFIGURATION = "3d_fullres"
FEATURES = (16, 32, 64, 128, 128)
ENCODER_CONVS = (1, 2, 2, 2, 2)
DECODER_CONVS = (1, 1, 1, 1)

# Interaction channels of the session; the network sees the image first, so its own channel numbers are one higher.
PREVIOUS, REGION, POINT, SCRIBBLE = 0, 1, 3, 5
INTERACTION_CHANNELS = 7
DECAY = 0.98
POINT_RADIUS = 4

LICENSE_LINE = "Apache-2.0 (starter model, trained on synthetic images only; not for patients)"
DESCRIPTION = "Starter model: small, trained on made-up images only. Official nnInteractive weights do better."


def plans() -> dict[str, Any]:
    """nnU-Net plans with the one configuration; at inference only patch size and architecture are read."""
    stages = len(FEATURES)
    return {
        "dataset_name": "Dataset902_MadeUpScenes",
        "plans_name": "starterPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [128, 128, 128],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "none",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {},
        "configurations": {
            CONFIGURATION: {
                "data_identifier": "starter_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [PATCH] * 3,
                "median_image_size_in_voxels": [128.0] * 3,
                "spacing": [1.0, 1.0, 1.0],
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "batch_dice": False,
                "architecture": {
                    "network_class_name": "app.models.starter_network.StarterUNet",
                    "arch_kwargs": {
                        "n_stages": stages,
                        "features_per_stage": list(FEATURES),
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": [[3, 3, 3]] * stages,
                        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
                        "n_conv_per_stage": list(ENCODER_CONVS),
                        "n_conv_per_stage_decoder": list(DECODER_CONVS),
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }


def capabilities() -> dict[str, Any]:
    """Content of ``inference_info.json``: which prompts the model takes and on which channels."""
    return {
        "inference_class": "nnInteractiveInferenceSession",
        "inference_class_min_version": "2.0.0",
        "supported_interactions": {"points": True, "bbox2d": True, "bbox3d": False, "scribble": True, "lasso": True},
        "supports_initial_label": True,
        "supports_zero_shot_label_refinement": True,
        "interaction_channels": INTERACTION_CHANNELS - 1,
        "channel_mapping": {
            "prev_seg": PREVIOUS,
            "bbox2d": [REGION, REGION + 1],
            "bbox3d": [REGION, REGION + 1],
            "lasso": [REGION, REGION + 1],
            "points": [POINT, POINT + 1],
            "scribble": [SCRIBBLE, SCRIBBLE + 1],
        },
        "point_radius": POINT_RADIUS,
        "preferred_scribble_thickness": [2, 2, 2],
        "interaction_decay": DECAY,
        "pad_mode_image": "constant",
    }


def build_network() -> nn.Module:
    """The network with random weights, input (batch, 8, k, j, i), output logits (batch, 2, k, j, i)."""
    manager = PlansManager(plans())
    configuration = manager.get_configuration(CONFIGURATION)
    network = nnInteractiveTrainer_stub.build_network_architecture(
        manager, configuration, 1 + INTERACTION_CHANNELS, 2, enable_deep_supervision=False
    )
    assert isinstance(network, nn.Module)
    return network


def checkpoint_path(folder: Path) -> Path:
    """Where nnInteractive looks for the weights inside a model folder."""
    return folder / "fold_0" / "checkpoint_final.pth"


def write_folder(folder: Path) -> None:
    """Write everything of a model folder but the weights and the README."""
    checkpoint_path(folder).parent.mkdir(parents=True, exist_ok=True)
    dataset = {
        "channel_names": {"0": "image"},
        "labels": {"background": 0, "object": 1},
        "numTraining": 0,
        "file_ending": ".nii.gz",
    }
    wishes = {"guard": True, "patches": 2, "description": DESCRIPTION}
    files = {"plans": plans(), "dataset": dataset, "inference_info": capabilities(), "segloop": wishes}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "LICENSE").write_text(LICENSE_LINE + "\nhttps://www.apache.org/licenses/LICENSE-2.0\n")


def save_weights(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    """Store weights in half precision; a reader sees the old file or the new one, never a part.

    The U-Net lists many of its weights under several names; equal ones are stored once.
    """
    stored: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        half = value.detach().half()
        same = (kept for kept in stored.values() if kept.shape == half.shape and torch.equal(kept, half))
        stored[name] = next(same, half)
    checkpoint = {
        "network_weights": stored,
        "trainer_name": "nnInteractiveTrainer_stub",
        "init_args": {"configuration": CONFIGURATION, "fold": 0},
    }
    target = checkpoint_path(folder)
    partial = target.with_suffix(".partial")
    torch.save(checkpoint, partial)
    os.replace(partial, target)


def load_weights(folder: Path, network: nn.Module) -> None:
    """Load the weights of a model folder into ``network``."""
    checkpoint = torch.load(checkpoint_path(folder), weights_only=True)
    network.load_state_dict(checkpoint["network_weights"])
