"""Configs of a bundle, merged from bundles/common/ and its network.json, without conditions, loops or templates.

bundles/common/
    train.json, evaluate.json, inference.json, multi_gpu_train.json,
    multi_gpu_inference.json, metadata.json, logging.conf   shared by all bundles
    options.json    each option once: description, and value in each config that has the option; `recipe` in place
                    of `train` is the value in the recipe that is based on no other
    recipes.json    differences of each recipe from the recipe that it is `based_on`
bundles/<name>/network.json
    title, order, stages (stage → title of its row), network_def
    recipes         values specific to the network, overriding those of bundles/common/
    options         options specific to the network, in the form of options.json
    metadata, train, evaluate, inference, multi_gpu_*    other overrides of the shared configs
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base.network_file import read_network
from transforms.errors import UserError

Config = dict[str, Any]

RUNNING = ("train", "evaluate", "inference")
SEVERAL = ("multi_gpu_train", "multi_gpu_inference")
CONFIGS = (*RUNNING, *SEVERAL, "metadata")
KEYS = ("title", "order", "stages", "network_def", "options", "recipes", *CONFIGS)
"""Valid keys of network.json."""

HEAD = "sample_dir"
"""Key of a config after which its options are inserted."""


@dataclass(frozen=True)
class Common:
    """Content of bundles/common/."""

    configs: Mapping[str, Config]
    options: Mapping[str, Config]
    recipes: Mapping[str, Config]
    logging: str

    @classmethod
    def read(cls, folder: Path) -> Common:
        """Read the files of the folder.

        Raises:
            UserError: a file is missing or not JSON, or an option has no description that a config can hold.
        """
        configs = {name: read_json(folder / f"{name}.json") for name in CONFIGS}
        options, recipes = (read_json(folder / f"{name}.json") for name in ("options", "recipes"))
        _check_sentences(folder / "options.json", options)
        return cls(configs, options, recipes, (folder / "logging.conf").read_text(encoding="utf-8"))


def read_json(path: Path) -> Config:
    """Read a JSON file.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        content: Config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    return content


def bundle_configs(folder: Path, common: Common) -> dict[str, Config]:
    """Return the configs of the bundle in `folder`: name → content.

    Raises:
        UserError: network.json is incomplete, or has unknown keys.
    """
    network = read_network(folder)
    _check(folder / "network.json", network, common)
    options = {**common.options, **network.get("options", {})}
    own = _of_name(folder.name, network["title"])
    own["train"] |= {
        "recipes": resolved_recipes(folder / "network.json", network, common.recipes, options),
        "options": {name: f"@{name}" for name, option in options.items() if "recipe" in option},
    }
    made = {}
    for name in CONFIGS:
        shared = common.configs[name]
        if name in RUNNING:
            shared = _with_options(shared, name, options)
            own[name] |= {"network_def": network["network_def"]}
        made[name] = merged(merged(shared, own[name]), network.get(name, {}))
    return made


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Config:
    """Return `base` overridden by the entries of `over`; dictionaries in both are merged recursively."""
    out = dict(base)
    for key, value in over.items():
        known = out.get(key)
        out[key] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return out


def resolved_recipes(
    path: Path, network: Mapping[str, Any], recipes: Mapping[str, Config], options: Mapping[str, Config]
) -> Config:
    """Return each recipe in full: its base, overridden by the shared differences, then by those of the network."""
    first = {name: option["recipe"] for name, option in options.items() if "recipe" in option}
    first["stages"] = list(network["stages"])
    own: Mapping[str, Config] = network.get("recipes", {})
    done: Config = {}
    for name in dict.fromkeys([*recipes, *own]):
        stated = {**recipes.get(name, {}), **own.get(name, {})}
        base = stated.pop("based_on", None)
        if base is not None and base not in done:
            raise UserError(f"{path}: recipe {name} is based on {base}; expected a preceding recipe: {', '.join(done)}")
        unknown = [key for key in stated if key not in first and key != "_desc_"]
        if unknown or "_desc_" not in stated:
            problem = f"has the unknown option {unknown[0]}" if unknown else "has no _desc_"
            raise UserError(f"{path}: recipe {name} {problem}; see bundles/common/options.json")
        done[name] = {"_desc_": stated["_desc_"], **(done[base] if base else first), **stated}
    return done


def _with_options(config: Config, name: str, options: Mapping[str, Config]) -> Config:
    """Return the config with its options inserted after `HEAD`, each after its description."""
    found: Config = {}
    for option, about in options.items():
        reads_recipe = name == "train" and "recipe" in about
        if reads_recipe or name in about:
            found[f"_desc_{option}"] = about["_desc_"]
            found[option] = f"$@recipes[@recipe]['{option}']" if reads_recipe else about[name]
    keys = list(config)
    cut = keys.index(HEAD) + 1
    return {**{k: config[k] for k in keys[:cut]}, **found, **{k: config[k] for k in keys[cut:]}}


def _of_name(name: str, title: str) -> dict[str, Config]:
    """Return the values of the configs that depend only on the bundle's name and title."""
    root = {"bundle_root": f"$engines.bundle_root('{name}')"}

    def overlaid(config: str) -> str:
        return ",".join(f"'bundles/{name}/configs/{part}.json'" for part in (config, f"multi_gpu_{config}"))

    return {
        "train": {
            "_desc_": f"Trains {title}. Every top-level key is an option: --recipe paper, --max_epochs 20, "
            "--dataset_dir PATH.",
            **root,
            "run_name": f"$engines.environment('MLFLOW_RUN_NAME', '{name} ' + @data.name)",
        },
        "evaluate": {
            **root,
            "run_name": f"$engines.environment('MLFLOW_RUN_NAME', '{name} ' + @data.name + ' ' + @section)",
        },
        "inference": root,
        "multi_gpu_train": {
            "_desc_": "Over train.json for several GPUs: torchrun --standalone --nproc_per_node=2 -m monai.bundle run "
            f'training --config_file "[{overlaid("train")}]"'
        },
        "multi_gpu_inference": {
            "_desc_": "Over inference.json for several GPUs: torchrun --standalone --nproc_per_node=2 -m monai.bundle "
            f'run evaluating --config_file "[{overlaid("inference")}]"'
        },
        "metadata": {},
    }


def _check_sentences(path: Path, options: Mapping[str, Config]) -> None:
    """Check that each option has a description that a config can hold."""
    for name, option in options.items():
        sentence = option.get("_desc_", "")
        if not sentence or sentence[0] in "$@%" or "#" in sentence:
            raise UserError(
                f"{path}: {name}: its _desc_ is {sentence!r}; expected one sentence that does not begin with $, @ or "
                "% or contain #"
            )


def _check(path: Path, network: Mapping[str, Any], common: Common) -> None:
    if not re.fullmatch(r"[A-Za-z]\w*", path.parent.name):
        raise UserError(f"{path.parent}: expected a name of only letters, digits and _; rename the folder")
    for key in network:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            raise UserError(f"{path}: unknown key {key!r}; expected {' or '.join(near) or ', '.join(KEYS)}")
    if "_target_" not in network.get("network_def", {}):
        raise UserError(f"{path}: network_def has no _target_; expected the class of the network, such as nets.FCN")
    own = network.get("options", {})
    _check_sentences(path, own)
    for name in own:
        if name in common.options:
            raise UserError(f"{path}: {name} is an option of all networks; change it in recipes, or rename this one")
