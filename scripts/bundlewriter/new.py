"""A new bundle for a third-party network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from engines.base.network_file import all_rows
from engines.base.paths import code_root, is_installed
from engines.inference.any_network import logits_of, trial
from engines.training.plan import stages_of
from scripts.bundlewriter.files import common_folder, read, write_all
from scripts.bundlewriter.image_sizes import stated_sizes
from scripts.bundlewriter.layout import layout
from scripts.bundlewriter.signature import network_definition
from transforms.errors import UserError

CLASSES = 5
"""Number of classes of the synthetic sample, used to try the new network."""

WIDTH = 0.0625
TEMPLATE = Path(__file__).with_name("readme.md")


def make_bundle(root: Path, name: str, target: str, given: Sequence[str], title: str | None = None) -> Path:
    """Write bundles/<name> with network.json, configs, documents and license; return the folder.

    Raises:
        UserError: the name is taken or invalid, or the network cannot be built or does not return logits.
    """
    folder = root / "bundles" / name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name == "common":
        raise UserError(f"{name}: invalid bundle name; expected lower-case letters, digits and _, as attention_unet")
    if folder.exists():
        raise UserError(f"{folder}: already exists; choose another name, or edit its network.json and `make bundles`")
    definition = network_definition(target, given)
    network = build(definition)
    multiple = check_logits(network)
    source = describe(root, name, title or target.rpartition(".")[2], definition, stages_of(network), multiple)
    try:
        (folder / "docs").mkdir(parents=True)
        (folder / "network.json").write_text(layout(source), encoding="utf-8", newline="\n")
        shutil.copyfile(code_root() / "LICENSE", folder / "LICENSE")
        text = documents(name, source, multiple)
        (folder / "docs" / "README.md").write_text(text, encoding="utf-8", newline="\n")
        terms = (common_folder(root) / "data_license.txt").read_text(encoding="utf-8")
        (folder / "docs" / "data_license.txt").write_text(terms, encoding="utf-8", newline="\n")
        write_all(root, only=folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # it may not even have been made
        raise
    return folder


def build(definition: dict[str, Any]) -> torch.nn.Module:
    """Build the network with the number of classes of the sample.

    Raises:
        UserError: the class does not accept the arguments.
    """
    parser = ConfigParser({"imports": ["$import nets"], "num_classes": CLASSES, "width": WIDTH})
    parser["network_def"] = definition
    try:
        network = parser.get_parsed_content("network_def")
    except Exception as error:  # a third-party class may raise anything
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = " ".join(str(cause).split())[:300]
        raise UserError(f"{definition['_target_']}: cannot be built ({type(cause).__name__}: {reason})") from None
    if not isinstance(network, torch.nn.Module):
        raise UserError(f"{definition['_target_']}: is a {type(network).__name__}; expected a torch.nn.Module")
    return network


def check_logits(network: torch.nn.Module) -> int:
    """Run the network on a batch; return the number that the sides of an image must be divisible by.

    Raises:
        UserError: the network does not return logits of the image's size for each class.
    """
    name = type(network).__name__
    multiple = trial(network).multiple
    side = multiple * max(2, 64 // multiple)
    image = torch.zeros(2, 3, side, side)
    try:
        with torch.enable_grad():
            output = network.eval()(image)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{name}: does not accept images of shape {tuple(image.shape)} ({reason})") from None
    logits = logits_of(output, image, name)[0]
    if logits.shape[1] != CLASSES:
        raise UserError(
            f"{name}: returns {logits.shape[1]} classes; expected {CLASSES}, as in the data set; set the argument for "
            "the number of classes to @num_classes"
        )
    if not logits.is_floating_point():
        raise UserError(f"{name}: returns {logits.dtype}; expected logits of a floating point type")
    if not logits.requires_grad and not hasattr(network, "set_stage"):  # which lets the layers of a stage be trained
        raise UserError(f"{name}: has no weights that can be trained; expected logits that depend on some")
    return multiple


def describe(
    root: Path, name: str, title: str, definition: dict[str, Any], stages: Sequence[str], multiple: int
) -> dict[str, Any]:
    """Return the content of network.json."""
    package = definition["_target_"].split(".")[0]
    order = 1 + max((rows.order for rows in all_rows(None if is_installed() else root / "bundles").values()), default=0)
    metadata: dict[str, Any] = {
        "name": f"Mammogram segmentation with {title}",
        "description": f"{title} ({definition['_target_']}), trained on crops balanced by class. The classes are those "
        "of the data set it is trained on; the default is a synthetic sample.",
    }
    if multiple > 1:
        metadata["network_data_format"] = stated_sizes(multiple)
    distribution = next(iter(packages_distributions().get(package, [])), None)
    if distribution is not None and package not in ("monai", "torch", "nets"):
        metadata["required_packages_version"] = {distribution: version(distribution).split("+")[0]}
    return {
        "title": title,
        "order": order,
        "stages": {stage: title if len(stages) == 1 else f"{title} {stage}" for stage in stages},
        "network_def": definition,
        "metadata": metadata,
    }


def documents(name: str, source: dict[str, Any], multiple: int) -> str:
    """Return docs/README.md: readme.md with the network's values filled in."""
    sizes = "any size" if multiple == 1 else f"multiples of {multiple} (others are padded, and the result is cropped)"
    words = {
        "NAME": name,
        "TITLE": source["title"],
        "TARGET": source["network_def"]["_target_"],
        "STAGES": ", ".join(f"`{stage}`" for stage in source["stages"]),
        "SIZES": sizes,
    }
    text = read(TEMPLATE) or ""
    for word, value in words.items():
        text = text.replace(f"{{{word}}}", value)
    return text
