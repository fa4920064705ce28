"""A model folder from checkpoints of the training: `python -m bench.starter_model.export --checkpoint A B --out DIR`.

Several checkpoints that began with the same weights are averaged (Wortsman et al., Model soups, arXiv 2203.05482).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.starter_model.architecture import save_weights, write_folder


def averaged(checkpoints: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The mean of the averaged weights of some trainings."""
    many = [torch.load(path, weights_only=True)["average"] for path in checkpoints]
    return {
        name: sum((one[name] for one in many), torch.zeros_like(value)) / len(many) for name, value in many[0].items()
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    write_folder(arguments.out)
    save_weights(arguments.out, averaged(arguments.checkpoint))


if __name__ == "__main__":
    main()
