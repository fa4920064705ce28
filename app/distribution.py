"""What is installed: this version of segloop, the files that come with it beside its code, and the size of packages."""

from __future__ import annotations

from importlib.metadata import distribution, distributions, version
from pathlib import Path

from app.errors import ConfigurationError

NAME = "segloop"


def segloop_version() -> str:
    """The version of this installation, such as `0.1.0`."""
    return version(NAME)


def shipped_configs() -> Path:
    """The folder of the shipped configuration files: that of the checkout, else that of the installation, which pip
    puts into `share/segloop/configs` of the environment (or of the user, or of the system).

    Raises `ConfigurationError` if there is none.
    """
    checkout = Path(__file__).parents[1] / "configs"
    if (checkout / "demo.yaml").is_file():
        return checkout
    for file in distribution(NAME).files or ():
        if file.parts[-4:] == ("share", NAME, "configs", "demo.yaml"):
            return Path(str(file.locate())).resolve().parent
    raise ConfigurationError("this installation has no configuration files; install segloop again from its wheel")


def package_sizes() -> dict[str, int]:
    """Bytes of each installed package by name, as its list of files says (compiled bytecode often isn't in it)."""
    return {one.name: sum(file.size or 0 for file in one.files or ()) for one in distributions()}
