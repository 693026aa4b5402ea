"""Networks and recipes of bundles, without the rest of their configs."""

from __future__ import annotations

import json
from typing import Any

from monai.bundle import ConfigParser
from torch import nn

from engines.base.paths import project_root
from engines.training.plan import at_stage, stages_of
from transforms.errors import UserError


def recipe_of(bundle: str, name: str = "paper") -> dict[str, Any]:
    """Return a recipe of a bundle.

    Raises:
        UserError: the bundle has no recipe of that name.
    """
    recipes: dict[str, dict[str, Any]] = train_config(bundle)["recipes"]
    if name not in recipes:
        raise UserError(f"--recipe {name}: expected one of {', '.join(recipes)}")
    return recipes[name]


def network_of(bundle: str, width: float, classes: int, recipe: str = "paper") -> nn.Module:
    """Return a bundle's network at its last stage with the options of a recipe, except its width."""
    options = {**recipe_of(bundle, recipe), "width": width, "num_classes": classes}
    parser = ConfigParser({"imports": ["$import nets", "$import engines"], **options})
    parser["network_def"] = train_config(bundle)["network_def"]
    network = parser.get_parsed_content("network_def")
    return at_stage(network, stages_of(network))


def train_config(bundle: str) -> dict[str, Any]:
    """Return the content of a bundle's train.json."""
    path = project_root() / "bundles" / bundle / "configs" / "train.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config
