"""Bundle and its trained model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base.paths import as_path, bundle_folder, bundle_folders, bundle_root, is_installed
from engines.records.output_folder import portable
from engines.records.trained_model import load_settings, weights_file
from transforms.errors import UserError

NEEDED = (
    "labels", "stage", "validation", "dataset", "width", "image_height", "windowing", "flip", "colour",
    "mirror_averaging", "source_values",
)  # fmt: skip
"""Settings of a training that sharing documents and the bundle's inference reads."""


@dataclass(frozen=True)
class Trained:
    """Bundle and training to be shared.

    Attributes:
        bundle: folder with configs/ and docs/.
        weights: path of models/model.pt.
        settings: content of models/model.json, without absolute paths.
        metadata: content of configs/metadata.json.
    """

    bundle: Path
    weights: Path
    settings: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the bundle and its folder."""
        return self.bundle.name

    @property
    def classes(self) -> list[str]:
        """Class names in the order of their ids."""
        labels = self.settings["labels"]
        return [labels[key] for key in sorted(labels, key=int)]

    @property
    def scores(self) -> dict[str, float]:
        """Validation scores of the weights; those of absent classes are left out."""
        return {name: value for name, value in self.settings["validation"].items() if value is not None}


def find_trained(bundle: str, output_dir: Path | None) -> Trained:
    """Find a bundle and its trained model.

    Args:
        bundle: name of a folder in bundles/, or a path.
        output_dir: folder of the training's models/; None for the bundle's own folder.

    Raises:
        UserError: the bundle is unknown, there are no weights, or they are of another bundle or project.
    """
    folder = find_bundle(bundle)
    if output_dir is None:
        own = is_installed() and not (folder / "models").is_dir()
        output_dir = Path(bundle_root(folder.name)) if own else folder
    output = as_path(output_dir)
    settings: dict[str, Any] = portable(load_settings(output))
    _check_bundle(folder, output, settings)
    missing = [key for key in NEEDED if key not in settings]
    if missing:
        raise UserError(f"{output / 'models' / 'model.json'}: has no {', '.join(missing)}; train again, then share")
    weights = Path(weights_file(output))
    try:
        metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{folder / 'configs' / 'metadata.json'}: not JSON ({error})") from None
    return Trained(folder, weights, settings, metadata)


def _check_bundle(folder: Path, output: Path, settings: dict[str, Any]) -> None:
    """Refuse weights of another existing bundle; an unknown name may be that of a bundle renamed since.

    Raises:
        UserError: the weights are of another bundle. Weights of older versions do not record their bundle.
    """
    name = settings.get("bundle")
    if not isinstance(name, str) or name in ("", folder.name):
        return
    if (bundle_folder(name) / "configs" / "inference.json").is_file():
        raise UserError(
            f"{output}: was trained with the bundle {name}, not {folder.name}; share {name}, or give the --output_dir "
            f"of a training of {folder.name}"
        )


def find_bundle(bundle: str) -> Path:
    """Folder of a bundle, by its name or path.

    Raises:
        UserError: the bundle is unknown.
    """
    for folder in (bundle_folder(bundle), as_path(bundle)):
        if (folder / "configs" / "inference.json").is_file() and (folder / "configs" / "metadata.json").is_file():
            return folder.resolve()
    paths = [path for bundles in bundle_folders() for path in bundles.glob("*/configs/metadata.json")]
    known = ", ".join(sorted(path.parents[1].name for path in paths)) or "none"
    raise UserError(f"{bundle}: not a bundle (no configs/inference.json and metadata.json); choose from {known}")
