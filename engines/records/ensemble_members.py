"""Members of an ensemble: their output folders and bundles, and the settings they must share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base.network_file import FILE as NETWORK_FILE
from engines.base.network_file import NetworkRows, read_rows
from engines.base.paths import as_path, bundle_folder, bundle_folders
from engines.records.trained_model import DIGEST, load_settings
from transforms.errors import UserError

STAGE = "ensemble"
"""Stage name of an ensemble, and of its row."""

SHARED = ("labels", "windowing", "flip", "colour")
"""Settings that must be equal for all members: classes, and how an image is read."""

CONFIG = Path("configs") / "inference.json"


@dataclass(frozen=True)
class Trained:
    """One member: weights of a training, and the bundle that builds their network.

    Attributes:
        folder: output folder of the training, which holds models/.
        weights: "model" or the name of a stage.
        bundle: folder that holds configs/inference.json.
        settings: content of models/<weights>.json.
    """

    folder: Path
    weights: str
    bundle: Path
    settings: Mapping[str, Any]

    @property
    def stage(self) -> str:
        """Stage of the weights."""
        return str(self.settings["stage"])

    @property
    def rows(self) -> NetworkRows | None:
        """Titles of the bundle; None without network.json."""
        return read_rows(self.bundle) if (self.bundle / NETWORK_FILE).is_file() else None

    @property
    def title(self) -> str:
        """Name of its row in tables."""
        rows = self.rows
        return self.stage if rows is None else rows.tags(self.stage)["title"]


def trained_members(given: Any) -> list[Trained]:
    """Return the members of an ensemble.

    Args:
        given: a list of trainings, each an output folder, or the file of a stage's weights in its models/; optionally
            prefixed by the name of its bundle, "unet=FOLDER", which trainings of older versions do not record. Or a
            JSON file with such a list as `members`, whose paths are relative to the file.

    Raises:
        UserError: fewer than two, one given twice, one that does not exist or whose bundle is unknown, or members
            whose classes or reading of images differ.
    """
    texts, base = _texts(given)
    members = [_member(text, base) for text in texts]
    if len(members) < 2:
        raise UserError(f"--members: expected two trainings or more, got {len(members)}")
    known: dict[Any, str] = {}
    for member, text in zip(members, texts, strict=True):
        key = member.settings.get(DIGEST) or (member.folder.resolve(), member.stage)
        if key in known:
            raise UserError(f"--members: {text} holds the same weights as {known[key]}; give each training once")
        known[key] = text
    for name in SHARED:
        for member, text in zip(members, texts, strict=True):
            if member.settings[name] != members[0].settings[name]:
                raise UserError(
                    f"--members: {name} of {text} is {_short(member.settings[name])}, that of {texts[0]} "
                    f"{_short(members[0].settings[name])}; all members of an ensemble need the same"
                )
    return members


def member_files(given: Any) -> list[str]:
    """Return the paths of the members' weights."""
    return [str(member.folder / "models" / f"{member.weights}.pt") for member in trained_members(given)]


def ensemble_settings(given: Any) -> dict[str, Any]:
    """Return the settings of an ensemble, in place of models/<weights>.json: those that its members share.

    `operating_point` is that of the JSON file, if given there: those of the members apply to their own predictions.
    `image_height` and `mirror_averaging` are applied by each member, so they are neutral here.

    Raises:
        UserError: as `trained_members`.
    """
    members = trained_members(given)
    first, *others = (member.settings for member in members)
    own = ("run_id", "epoch", "validation", "bundle", DIGEST)
    same = {
        key: value
        for key, value in first.items()
        if key not in own and all(key in other and other[key] == value for other in others)
    }
    return {
        **same,
        "stage": STAGE,
        "width": first["width"],  # of a network that is not made; its config needs a number
        "image_height": None,
        "mirror_averaging": False,
        "source_values": same.get("source_values"),
        "operating_point": _content(given).get("operating_point"),
        "members": [dict(member.settings) for member in members],
    }


def ensemble_tags(members: Sequence[Trained]) -> dict[str, str]:
    """Return title, order and bundle of the ensemble's row, like `NetworkRows.tags` for a network.

    The bundle's name lists those of all members, so that ensembles of other networks are separate rows.
    """
    of = sorted(f"{member.bundle.name}/{member.stage}" for member in members)
    titles = [member.title for member in members]
    counted = [f"{titles.count(title)} x {title}" if titles.count(title) > 1 else title for title in titles]
    return {
        "bundle": f"{STAGE} {' '.join(of)}",
        "title": f"Ensemble of {', '.join(dict.fromkeys(counted))}",
        "order": "1000.0",
    }


def _texts(given: Any) -> tuple[list[str], Path]:
    """Return the members' texts and the folder of relative paths."""
    if isinstance(given, (list, tuple)):
        return [str(text) for text in given], Path()
    members = _content(given).get("members")
    if not isinstance(members, list) or not all(isinstance(text, str) for text in members):
        raise UserError(f"--members {given}: expected a list of trainings such as \"['FOLDER','unet=FOLDER']\"")
    return members, as_path(given).parent


def _content(given: Any) -> dict[str, Any]:
    """Return the content of an ensemble's JSON file; empty for a list."""
    if not isinstance(given, (str, Path)) or as_path(given).suffix != ".json":
        return {}
    path = as_path(given)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"--members {path}: cannot be read ({str(error)[:120]}); give a list of trainings") from None
    return content if isinstance(content, dict) else {}


def _member(text: str, base: Path) -> Trained:
    name, _, rest = text.partition("=")
    path = base / as_path(text)
    if not path.exists() and rest:
        path = base / as_path(rest)
    else:
        name = ""
    weights = "model"
    if path.suffix == ".pt":
        path, weights = path.parent.parent, path.stem
    if not (path / "models").is_dir():
        raise UserError(f"--members: {text}: no trained model here; expected a folder that holds models/")
    settings = load_settings(path, weights)
    return Trained(path, weights, _bundle(text, path, name or str(settings.get("bundle") or "")), settings)


def _bundle(text: str, folder: Path, name: str) -> Path:
    """Return the folder whose config builds the network: the training's if it is a bundle, else the one of its name."""
    if not name and (folder / CONFIG).is_file():
        return folder
    if name and (bundle_folder(name) / CONFIG).is_file():
        return bundle_folder(name)
    paths = [path for bundles in bundle_folders() for path in bundles.glob(f"*/{CONFIG.as_posix()}")]
    there = ", ".join(sorted(path.parents[1].name for path in paths))
    if name:
        raise UserError(f"--members: {text}: unknown bundle {name}; choose from {there}")
    raise UserError(
        f"--members: {text}: an older version trained it and did not record its bundle; prefix the bundle, as in "
        f"'unet={text}'; choose from {there}"
    )


def _short(value: Any) -> str:
    text = ", ".join(map(str, value.values())) if isinstance(value, dict) else str(value)
    return text if len(text) <= 80 else text[:80] + " …"
