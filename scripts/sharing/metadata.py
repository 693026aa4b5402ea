"""metadata.json of a shared bundle, completed from its training."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from engines.base.replaced_options import upgraded
from scripts.bundlewriter.image_sizes import stated_sizes
from scripts.bundlewriter.source import merged
from scripts.sharing.requirements import installed
from scripts.sharing.trained import Trained
from transforms.errors import UserError

SCHEMA = Path(__file__).with_name("metadata.schema.json")


def complete(
    trained: Trained,
    *,
    packages: Mapping[str, str],
    multiple: int,
    version: str | None = None,
    changelog: str | None = None,
    authors: str | None = None,
    data_licence: str | None = None,
) -> dict[str, Any]:
    """Return the bundle's metadata, completed from its training.

    Args:
        trained: bundle and training.
        packages: value of `required_packages_version`.
        multiple: divisor required of image sides; 1 for any size.
        version: version of the shared bundle; None for that in the metadata.
        changelog: changes in this version.
        authors: authors of the model; None keeps those of the code.
        data_licence: terms of the data, in addition to recorded ones.

    Raises:
        UserError: the version is not of the form 1.2.3, or the result violates the schema.
    """
    metadata = copy.deepcopy(trained.metadata)
    settings = trained.settings
    number = version or str(metadata.get("version", "0.1.0"))
    if not re.fullmatch(r"\d+\.\d+\.\d+", number):
        raise UserError(f"--version {number}: expected three numbers, as in 1.0.0")
    said = changelog or metadata.get("changelog", {}).get(number) or f"weights trained on {settings['dataset']}"
    metadata["version"] = number
    metadata["changelog"] = {**metadata.get("changelog", {}), number: said}
    metadata.update({f"{key}_version": installed(name) for key, name in _LIBRARIES.items()})
    metadata["required_packages_version"] = dict(packages)
    metadata["authors"] = authors or metadata["authors"]
    metadata["data_source"] = ": ".join(filter(None, (settings["dataset"], settings.get("reference"))))
    metadata["eval_metrics"] = trained.scores
    metadata["dataset"] = data_facts(trained, data_licence)
    metadata["intensity"] = intensity_rules(settings)
    options = upgraded(settings)
    metadata["training"] = {key: options[key] for key in _TRAINING if key in options}
    metadata["network_data_format"] = _network(metadata["network_data_format"], trained.classes, multiple)
    check(metadata)
    return metadata


_LIBRARIES = {"monai": "monai", "pytorch": "torch", "numpy": "numpy"}
_TRAINING = (
    "stage", "epoch", "recipe", "seed", "width", "crop_size", "image_height", "sampling", "loss", "class_weights",
    "loss_parameters", "ema_decay", "mirror_averaging",
)  # fmt: skip


def data_facts(trained: Trained, data_licence: str | None = None) -> dict[str, Any]:
    """Return name, terms, citation, classes and digests of the data, without information on subjects."""
    settings = trained.settings
    return {
        "name": settings["dataset"],
        "licence": settings.get("licence") or data_licence or "",
        "licence_stated_when_shared": data_licence or "",
        "reference": settings.get("reference", ""),
        "classes": trained.classes,
        "ignore_label": settings.get("ignore_label"),
        "dataset_digest": settings.get("dataset_digest"),
        "split_digest": settings.get("split_digest"),
    }


def intensity_rules(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return how gray values of a file are converted to the network's input."""
    return {
        "windowing": settings["windowing"],
        "flip": settings.get("flip", "none"),
        "colour": settings.get("colour", False),
        "image_height": settings.get("image_height"),
        "possible_values_of_training_images": settings.get("intensity_ranges", []),
        "normalisation": "the lowest and highest possible values of an image are mapped to -0.5 and 0.5",
    }


def _network(formats: Mapping[str, Any], classes: list[str], multiple: int) -> dict[str, Any]:
    described = merged(formats, stated_sizes(multiple))
    described["outputs"]["pred"]["num_channels"] = len(classes)
    described["outputs"]["pred"]["channel_def"] = {str(number): name for number, name in enumerate(classes)}
    return described


def check(metadata: Mapping[str, Any]) -> None:
    """Check metadata against the schema in this folder, without a network connection.

    Raises:
        UserError: a key violates the schema; the message names the most relevant one.
    """
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(metadata))
    if error is not None:
        where = "".join(f"[{key!r}]" for key in error.absolute_path) or "the top level"
        raise UserError(f"metadata.json: {where}: {error.message[:200]}; correct configs/metadata.json of the bundle")
    if metadata["version"] not in metadata["changelog"]:
        raise UserError(f"metadata.json: version {metadata['version']} is not in its changelog")
