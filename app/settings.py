"""All settings, in one frozen tree. Unknown keys are errors.

Sources, in increasing precedence: the defaults here, a YAML file (`--config`), the environment (`SEGLOOP_PORT`,
`SEGLOOP_ARCHIVE__USERNAME`), the command line. `load` also returns the source of each value, for `segloop doctor`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from app.errors import ConfigurationError
from app.models.registry import MODEL_TYPES

MIB = 2**20
GIB = 2**30

MASKS = (
    *("*_seg.*", "*-seg.*", "*_seg_*", "*.seg.nrrd", "*_dseg.*", "*_segmentation.*", "*/segmentation*"),
    *("*_mask.*", "*-mask.*", "*/masks/*", "*_gt.*"),
    *("*_label.*", "*_labels.*", "*/labels/*", "*/labelsTr/*", "*/labelsTs/*"),
)
"""How masks are called in BIDS, nnU-Net, the Medical Segmentation Decathlon, BraTS, KiTS, LiTS, ACDC, TotalSegmentator
and 3D Slicer."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArchiveSettings(_Section):
    """Access to a DICOMweb archive, or where a folder archive writes labels."""

    filter: dict[str, str] = Field(default_factory=dict, description="QIDO-RS matches; only these series are cases")
    username: str = Field("", description="user name for HTTP Basic")
    password: SecretStr = Field(SecretStr(""), description="its password")
    password_file: Path | None = Field(None, description="read the password from this file")
    token: SecretStr = Field(SecretStr(""), description="bearer token, instead of a user name")
    token_file: Path | None = Field(None, description="read the token from this file")
    ca_file: Path | None = Field(None, description="certificates to trust; the system's if empty")
    connect_timeout: float = Field(10.0, gt=0, description="seconds to wait for a connection")
    read_timeout: float = Field(60.0, gt=0, description="seconds without a byte until a timeout")
    answer_seconds: float = Field(20.0, gt=0, description="seconds for one answer (results), once it has begun")
    max_answer_bytes: int = Field(64 * MIB, ge=MIB, description="a longer answer (a page of results) is an error")
    fetch_seconds: float = Field(3600.0, gt=0, description="seconds for one series, and for listing all series")
    page_size: int = Field(200, ge=1, description="series per QIDO-RS page")
    orthanc_url: str = Field("", description="the Orthanc behind the service, if it isn't its parent address")
    labels_dir: Path | None = Field(None, description="where a folder archive writes labels; `labels/` in it if empty")
    masks: list[str] = Field(
        default_factory=lambda: [*MASKS],
        description="volume files in a folder that are masks, not cases; patterns of `/path/in/the/folder`, without"
        " case, in which * also stands for slashes; [] takes every file for an image",
    )
    volume_modality: Literal["auto", "CT", "MR", "PT"] = Field(
        "auto",
        description="of volume files in a folder, for viewers; auto: by their names, else CT with air, MR without",
    )
    sync_seconds: float = Field(60.0, gt=0, description="how often the archive is polled")


class CacheSettings(_Section):
    max_bytes: int = Field(20 * GIB, ge=64 * MIB, description="disk used for fetched volumes at most")


class LabelSettings(_Section):
    structures: list[str] = Field(
        default_factory=lambda: ["structure"], description="what is labelled; viewers show one segment for each"
    )
    seg_type: Literal["auto", "binary", "labelmap"] = Field(
        "auto", description="auto writes BINARY up to 10 segments, which every viewer reads, and LABELMAP above"
    )
    unmarked: Literal["not_examined", "absent"] = Field(
        "not_examined",
        description="what a structure without voxels is where the viewer can't say; absent is for projects whose"
        " annotators always look for every structure",
    )
    max_upload_bytes: int = Field(2 * GIB, ge=MIB, description="a larger upload is refused")


class ModelSettings(_Section):
    """One model, served to every viewer under its key."""

    type: str = Field(description="model type, see below; or one of another installed package")
    source: str = Field(
        "",
        description="nninteractive: starter, an official id or a folder, whose weights are served, and trained from if"
        " there is a trainer; bundle: its folder",
    )
    patches: int | None = Field(
        None,
        ge=0,
        description="nninteractive: patches that one prompt may look at besides the first (zooming out and refining);"
        " else as the model's folder says; official models as the library does",
    )
    trainer: str = Field("", description="which trainer makes new versions; none if empty")
    options: dict[str, bool | int | float | str] = Field(default_factory=dict, description="for the trainer")

    @field_validator("type")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            MODEL_TYPES.check(name)
        except ConfigurationError as error:  # as a ValueError, so that pydantic adds the model's name
            raise ValueError(str(error)) from error
        return name


class MMEngineSettings(_Section):
    """One MMEngine model that ITKIT clients may load by its key. Its configuration file is Python code, and runs."""

    config: Path = Field(description="configuration file (.py)")
    checkpoint: Path = Field(description="weights (.pth); a state dict, or a checkpoint that holds one")
    python: Path = Field(description="interpreter of an environment with mmengine and torch")
    load_seconds: float = Field(120.0, gt=0, description="time limit for loading")
    infer_seconds: float = Field(600.0, gt=0, description="time limit for segmenting one image")


def _default_models() -> dict[str, ModelSettings]:
    return {
        "nninteractive": ModelSettings(type="nninteractive", source="starter"),
        "deepgrow_2d": ModelSettings(type="deepgrow_2d", trainer="deepgrow", options={"dimension": 2}),
        "deepgrow_3d": ModelSettings(type="deepgrow_3d", trainer="deepgrow", options={"dimension": 3}),
        "deepedit": ModelSettings(type="deepedit", trainer="deepedit"),
        "segmentation": ModelSettings(type="segmentation", trainer="segmentation"),
        "Histogram+GraphCut": ModelSettings(type="histogram_graphcut"),
        "GMM+GraphCut": ModelSettings(type="gmm_graphcut"),
    }


EVERYONE = "*"
"""In `trusted_proxies`: whoever connects is a proxy."""


def _default_proxies() -> list[str]:
    """Proxies on this machine, or those that Uvicorn's variable names."""
    return os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1").replace(" ", "").split(",")


class LearningSettings(_Section):
    epochs: int = Field(50, ge=1, description="epochs of a training run")
    train_after: int = Field(3, ge=0, description="train when this many new labels have come; 0: only by hand")
    train_fraction: float = Field(0.1, ge=0, description="... or this share of all labels, whichever is more")
    validation_fold: int = Field(5, ge=2, description="one patient in this many is used for validation only")
    gate_patients: int = Field(
        5, ge=1, description="with fewer validation patients a person publishes, except the first version"
    )
    tolerance: float = Field(0.005, ge=0, description="a candidate may have this much less mean Dice and be published")
    class_tolerance: float = Field(0.03, ge=0, description="... and no structure may lose more than this")
    score_seconds: float = Field(600.0, gt=0, description="time budget of one scoring job")
    score_cases: int = Field(200, ge=1, description="cases scored at most by one job")
    snapshots: int = Field(3, ge=1, description="weights of earlier epochs kept for epistemic scores")
    pause_seconds: float = Field(
        2.0, ge=0, description="jobs pause until there were no prompts for so long, or take a step in ten"
    )


class SessionSettings(_Section):
    lease_seconds: float = Field(3600.0, gt=0, description="how long a case stays someone's after their last action")
    idle_seconds: float = Field(1800.0, gt=0, description="an idle prompt session is parked after this")
    keep_seconds: float = Field(30 * 86400.0, gt=0, description="logs and snapshots of sessions are deleted after this")
    liveness_seconds: float = Field(60.0, gt=0, description="nnInteractive clients must send a request this often")
    lease_idle_seconds: float = Field(3600.0, gt=0, description="... and lose their lease after this without a prompt")
    max_leases: int = Field(64, ge=1, description="nnInteractive clients at the same time")
    match_seconds: float = Field(120.0, ge=0, description="time for finding the case of an image that a viewer sent")
    max_bytes: int = Field(8 * GIB, ge=64 * MIB, description="memory for all prompt sessions together")
    undo_bytes: int = Field(
        256 * MIB,
        ge=MIB,
        description="disk space for the states that undo returns to, for each session; the oldest go first",
    )
    upload_seconds: float = Field(3600.0, gt=0, description="session uploads are deleted after this")


class Settings(BaseSettings):
    """The root of the settings tree."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="SEGLOOP_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    name: str = Field("Segloop", description="name of the server, shown in viewers")
    description: str = Field("One server behind every viewer", description="one line about it, shown in viewers")
    studies: str = Field("studies", description="address of a DICOMweb service, or a folder")
    workspace: Path = Field(Path("workspace"), description="folder for all data of this server")
    viewer_dir: Path | None = Field(None, description="where OHIF is installed; in the workspace if empty")
    host: str = Field("127.0.0.1", description="address to listen on; any but loopback needs a token")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any that is free")
    also_ports: list[Annotated[int, Field(ge=1, le=65535)]] = Field(
        default_factory=list, description="more ports to answer on, such as 8911 (ITK-SNAP) and 1527 (nnInteractive)"
    )
    token: SecretStr = Field(SecretStr(""), description="what clients must show; needed for any host but loopback")
    token_file: Path | None = Field(None, description="read the token from this file")
    accounts: bool = Field(
        False, description="people have accounts (`segloop users`); the token, if there is one, is an annotator's"
    )
    pod: bool = Field(False, description="running on a rented pod: a missing token is made and printed once")
    zero_copy: bool = Field(True, description="send files without reading them into this process, where that works")
    root_path: str = Field("", description="where a proxy serves this server, such as /segloop; empty for its root")
    trusted_proxies: list[str] = Field(
        default_factory=_default_proxies,
        description="addresses, networks: proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; * for all",
    )
    hosts: list[str] = Field(
        default_factory=list,
        description="names (`*.example.org` for all below) that requests may address this server by, besides loopback"
        " ones; with a token any, if empty",
    )
    origins: list[str] = Field(default_factory=list, description="web origins whose pages may use this server")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, description="CPU threads for models; 0: as many as there are cores")
    archive: ArchiveSettings = ArchiveSettings()
    cache: CacheSettings = CacheSettings()
    labels: LabelSettings = LabelSettings()
    models: dict[str, ModelSettings] = Field(default_factory=_default_models)
    model_dir: Path | None = Field(None, description="ONNX models that ITKIT clients may load; loaded at start")
    mmengine: dict[str, MMEngineSettings] = Field(default_factory=dict, description="MMEngine models, by id")
    learning: LearningSettings = LearningSettings()
    sessions: SessionSettings = SessionSettings()

    @field_validator("root_path")
    @classmethod
    def _path(cls, path: str) -> str:
        path = path.rstrip("/")
        if not re.fullmatch(r"(/[\w.~-]+)*", path, re.ASCII) or re.search(r"/\.{1,2}(/|$)", path):
            raise ValueError(f"{path!r} is no path such as /segloop")
        if path.split("/")[1:2] in (["t"], ["u"]):
            raise ValueError("/t/ and /u/ are followed by tokens and names of users")
        return path

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, proxies: list[str]) -> list[str]:
        for proxy in proxies:
            if proxy != EVERYONE:
                ip_network(proxy, strict=False)  # raises ValueError
        return proxies

    @model_validator(mode="after")
    def _names(self) -> Settings:
        for name in [*self.models, *self.labels.structures]:
            if not name.strip() or name != name.strip():
                raise ValueError(f"{name!r} is not a valid name")
        if any(" " in name or "/" in name for name in self.models):
            raise ValueError("names of models can't contain spaces or slashes, because viewers use them in URLs")
        if "background" in self.labels.structures:
            raise ValueError('"background" is not allowed as a structure: it is everything outside of them')
        return self

    @property
    def studies_url(self) -> str | None:
        """The DICOMweb address, or None if the studies are a folder."""
        return self.studies if urlsplit(self.studies).scheme in ("http", "https") else None

    @property
    def viewer_folder(self) -> Path:
        """The folder of OHIF, which `segloop viewer install` fills."""
        return (self.viewer_dir or self.workspace / "viewer").absolute()

    @property
    def secret_token(self) -> str:
        """The token clients must show; "" if none is set. Raises `ConfigurationError` if its file can't be read."""
        return _secret(self.token, self.token_file, "token_file")

    def save_private(self, file: Path) -> None:
        """Write all settings, including secrets, to a file that only this user can read, for job processes."""
        values = self.model_dump(mode="json")
        values["token"] = self.token.get_secret_value()
        values["archive"]["password"] = self.archive.password.get_secret_value()
        values["archive"]["token"] = self.archive.token.get_secret_value()
        file.unlink(missing_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            json.dump(values, stream)

    @classmethod
    def read_private(cls, file: Path) -> Settings:
        """Read a file that `save_private` wrote."""
        return cls(**json.loads(file.read_text()))

    def archive_secrets(self) -> tuple[str, str]:
        """`(password, bearer token)` for the archive."""
        archive = self.archive
        return (
            _secret(archive.password, archive.password_file, "archive.password_file"),
            _secret(archive.token, archive.token_file, "archive.token_file"),
        )


def _secret(value: SecretStr, file: Path | None, name: str) -> str:
    if value.get_secret_value() or file is None:
        return value.get_secret_value()
    try:
        return file.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"{name}: {file} can't be read: {error.strerror}") from error


def load(config: Path | None, given: Mapping[str, Any]) -> tuple[Settings, dict[str, str]]:
    """The effective settings, and the source of each key, top-level or nested, that isn't a default.

    `given` are values of the command line, by dotted key. Raises `ConfigurationError`.
    """
    sources: dict[str, str] = {}
    values: dict[str, Any] = {}
    for origin, layer in (
        (str(config), _yaml(config) if config else {}),
        ("environment", _environment()),
        ("command line", _nested(given)),
    ):
        values = _merge(values, layer)
        sources |= dict.fromkeys(_keys(layer), origin)
    try:
        # The environment is already merged in; values of __init__ take precedence over it.
        return Settings(**values), sources
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"the settings don't work: {problems}") from error


def _yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{file} can't be read as YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file} should hold keys and values")
    return content


def _environment() -> dict[str, Any]:
    known = set(Settings.model_fields)
    for name in os.environ:
        if name.upper().startswith("SEGLOOP_") and name[8:].split("__")[0].lower() not in known:
            raise ConfigurationError(f"segloop doesn't know the environment variable {name}")
    return dict(EnvSettingsSource(Settings)())


def _nested(given: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for dotted, value in given.items():
        *path, leaf = dotted.split(".")
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        node[leaf] = value
    return tree


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        # A file's models replace the default models as a whole; a single key of a section doesn't reset the section.
        merged[key] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _keys(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key, value in tree.items():
        keys += _keys(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else [prefix + key]
    return keys
