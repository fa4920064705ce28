"""What the installation costs: the largest packages, and which build of torch it has."""

from __future__ import annotations

from collections.abc import Mapping

from app.distribution import package_sizes

LARGEST = 5
_CUDA_PACKAGES = ("nvidia-", "cuda-", "triton")


def installed() -> str:
    """The size of all packages and of the largest ones."""
    sizes = package_sizes()
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:LARGEST]
    shown = ", ".join(f"{name} {_gigabytes(sizes[name])}" for name in largest)
    return f"{_gigabytes(sum(sizes.values()))} in {len(sizes)} packages; the largest: {shown}"


def torch_build() -> str:
    """The version of torch and what it is built for; what CUDA costs where there is no card that uses it."""
    import torch

    cuda = torch.version.cuda
    if cuda is None:
        return f"{torch.__version__}, without CUDA"
    built = f"{torch.__version__}, for CUDA {cuda}"
    if torch.cuda.is_available():
        return built
    return (
        f"{built}, but no graphics card is found; its CUDA packages take {_gigabytes(_cuda_bytes(package_sizes()))}."
        " docs/install.md tells how to install the build without CUDA"
    )


def _cuda_bytes(sizes: Mapping[str, int]) -> int:
    return sum(size for name, size in sizes.items() if name.lower().startswith(_CUDA_PACKAGES))


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
