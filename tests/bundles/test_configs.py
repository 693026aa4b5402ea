"""Rules for the files of every bundle, without running them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, verify_net_in_out
from repository import ROOT

from engines.base.network_file import all_rows, read_network
from nets import summary
from scripts.bundlewriter.files import out_of_date

BUNDLES = [ROOT / "bundles" / name for name in all_rows()]
PAPER = {"fcn": "nets.FCN", "unet": "monai.networks.nets.UNet", "dilation10": "nets.Dilation10",
         "deeplabv3": "nets.DeepLabV3"}  # fmt: skip
CONFIGS = [c for b in BUNDLES for c in sorted((b / "configs").glob("*.json")) if c.name != "metadata.json"]

each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda p: p.name)
each_of_the_paper = pytest.mark.parametrize("bundle", [ROOT / "bundles" / name for name in PAPER], ids=lambda p: p.name)
each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parts[-3]}-{p.stem}")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def expressions(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [e for v in value.values() for e in expressions(v)]
    if isinstance(value, list):
        return [e for v in value for e in expressions(v)]
    return [value] if isinstance(value, str) and value.startswith("$") else []


def test_the_paper_s_bundles_come_first_and_in_its_order() -> None:
    assert [b.name for b in BUNDLES][: len(PAPER)] == list(PAPER)


def test_every_bundle_has_a_source_and_is_what_it_gives() -> None:
    assert {p.parents[1] for p in ROOT.glob("bundles/*/configs/train.json")} == set(BUNDLES)
    assert out_of_date(ROOT) == []


@each_bundle
def test_files_of_the_zoo_format(bundle: Path) -> None:
    names = {"metadata.json", "train.json", "evaluate.json", "inference.json", "logging.conf"}
    assert names <= {p.name for p in (bundle / "configs").iterdir()}
    assert (bundle / "LICENSE").is_file()
    assert {"README.md", "data_license.txt"} <= {p.name for p in (bundle / "docs").iterdir()}
    assert len((bundle / "docs" / "README.md").read_text().splitlines()) <= 90


@each_bundle
def test_the_readme_s_recipes_are_those_of_the_config(bundle: Path) -> None:
    recipes = read(bundle / "configs" / "train.json")["recipes"]
    text = (bundle / "docs" / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)`[^|]*\|[^|]*\| ([\d.]+) \| ([^|]+) \| ([^|]+) \|", text, re.MULTILINE)
    assert {"quick", "tumor"} <= {name for name, *_ in rows}
    for name, width, resolution, crops in rows:
        recipe = recipes[name]
        height, tuning, sizes = recipe["image_height"], recipe["fine_tuning"], recipe["crop_size"]
        assert float(width) == recipe["width"], name
        assert resolution == ("as stored" if height is None else f"{height} rows"), name
        every = [*(sizes.values() if isinstance(sizes, dict) else [sizes]), *([tuning["crop_size"]] if tuning else [])]
        expected = {" x ".join(map(str, size)) if isinstance(size, list) else str(size) for size in every}
        assert set(re.findall(r"\d+(?: x \d+)?", crops)) == expected, name


@each_bundle
def test_version_is_in_the_changelog(bundle: Path) -> None:
    metadata = read(bundle / "configs" / "metadata.json")
    assert metadata["version"] in metadata["changelog"]


@each_bundle
def test_train_evaluate_and_inference_define_one_network(bundle: Path) -> None:
    configs = [read(bundle / "configs" / f"{name}.json") for name in ("train", "evaluate", "inference")]
    assert configs[1]["network_def"] == configs[2]["network_def"]
    assert configs[1]["network_def"] == {"_disabled_": "$bool(@members)", **configs[0]["network_def"]}


@each_bundle
@pytest.mark.parametrize("name", ["train", "evaluate", "inference"])
def test_switches_hear_false_as_a_text(bundle: Path, name: str) -> None:
    config = read(bundle / "configs" / f"{name}.json")
    parser = ConfigParser({**config, "mirror_averaging": "false", "balanced": "False"})
    inferer = "validate::inferer" if name == "train" else "inferer"
    assert parser.get_parsed_content(f"{inferer}::enabled") is False
    if name == "train":
        assert parser.get_parsed_content("train::reading::0::balanced") is False


@each_of_the_paper
def test_networks(bundle: Path) -> None:
    assert read(bundle / "configs" / "train.json")["network_def"]["_target_"] == PAPER[bundle.name]


@each_of_the_paper
def test_the_summary_shows_the_network_of_the_bundle(bundle: Path) -> None:
    config = read(bundle / "configs" / "train.json")
    parser = ConfigParser({**config["recipes"]["paper"], "width": 0.125, "num_classes": 7})
    parser["imports"] = ["$import nets", "$import engines"]
    parser["network_def"] = config["network_def"]
    built = parser.get_parsed_content("network_def")
    shown, _ = summary.tables(bundle.name, classes=7, width=0.125)
    assert {k: v.shape for k, v in shown.state_dict().items()} == {k: v.shape for k, v in built.state_dict().items()}


@each_bundle
def test_recipes_have_the_same_options_and_every_option_reads_the_recipe(bundle: Path) -> None:
    config = read(bundle / "configs" / "train.json")
    first, *others = [set(recipe) - {"_desc_"} for recipe in config["recipes"].values()]
    assert all(options == first for options in others)
    for name in first:
        assert config[name] == f"$@recipes[@recipe]['{name}']"


@each_bundle
def test_cityscapes_recipe_is_that_of_the_paper_but_for_the_input_pipeline(bundle: Path) -> None:
    """Section 3.3: color distortions, and crops anywhere instead of on rare classes."""
    recipes = read(bundle / "configs" / "train.json")["recipes"]
    changed = {"_desc_", "balanced", "augmentation"}
    assert {k for k, v in recipes["paper"].items() if recipes["cityscapes"][k] != v} == changed
    assert (recipes["cityscapes"]["balanced"], recipes["cityscapes"]["augmentation"]) == (False, "cityscapes")
    assert (recipes["paper"]["balanced"], recipes["paper"]["augmentation"]) == (True, "mammography")


def test_every_option_is_documented() -> None:
    options = read(ROOT / "bundles" / "common" / "options.json")
    text = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    for name, about in options.items():
        assert re.search(rf"^\| `{name}` \|.*\| {re.escape(about['_desc_'])} \|$", text, re.MULTILINE), name
    for path in ROOT.glob("bundles/*/network.json"):
        for name in own_options(path.parent):
            assert f"`--{name}` ({path.parent.name})" in text


@pytest.mark.parametrize("name", ["train", "evaluate", "inference"])
@each_bundle
def test_every_option_stands_below_its_sentence(bundle: Path, name: str) -> None:
    options = read(ROOT / "bundles" / "common" / "options.json") | own_options(bundle)
    config = read(bundle / "configs" / f"{name}.json")
    keys = list(config)
    own = [key for key in keys if key in options and f"_desc_{key}" in config]
    assert set(own) >= set(config.get("options", {})) | {"dataset_dir", "output_dir", "device"}
    for key in own:
        assert config[f"_desc_{key}"] == options[key]["_desc_"]
        assert keys.index(key) == keys.index(f"_desc_{key}") + 1
        assert options[key]["_desc_"][0] not in "$@%"


@each_of_the_paper
def test_paper_recipe_is_table_8(bundle: Path) -> None:
    recipe = read(bundle / "configs" / "train.json")["recipes"]["paper"]
    expected = {
        "momentum": 0.9,  # Momentum
        "learning_rate": 0.0001,  # Initial Learn Rate
        "lr_drop_period": 10,  # Learn Rate Drop Period
        "lr_drop_factor": 0.3,  # Learn Rate Drop Factor
        "weight_decay": 0.005,  # L2 Regularization
        "max_epochs": 100,  # Max Epochs
        "batch_size": 2 if bundle.name == "deeplabv3" else 64,  # Mini Batch Size; section 2.4 says 2
        "patience": 4,  # Validation Patience
        "width": 1.0,
    }
    assert {key: recipe[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "crop_size"),
    [
        ("fcn", 256),  # section 2.1
        ("dilation10", {"front": 632, "context": 1024, "global": 1400}),  # section 2.3
        ("unet", 576),  # section 2.2: 572, of which the nearest multiple of 16
        ("deeplabv3", 769),  # section 2.4
    ],
)
def test_paper_crop_sizes(name: str, crop_size: Any) -> None:
    recipe = read(ROOT / "bundles" / name / "configs" / "train.json")["recipes"]["paper"]
    assert recipe["crop_size"] == crop_size


def own_options(bundle: Path) -> dict[str, Any]:
    """Options specific to the bundle's network."""
    options: dict[str, Any] = read(bundle / "network.json").get("options", {})
    return options


def test_training_is_the_same_in_all_bundles_but_for_network_name_and_recipes() -> None:
    stripped = []
    for bundle in BUNDLES:
        config = read(bundle / "configs" / "train.json")
        for key in ("_desc_", "run_name", "recipes", "network_def"):
            del config[key]
        for name in own_options(bundle):
            del config[name], config[f"_desc_{name}"], config["options"][name]
        assert config.pop("bundle_root") == f"$engines.bundle_root('{bundle.name}')"
        stripped.append(config)
    assert all(config == stripped[0] for config in stripped)


@each_bundle
def test_quick_recipes_compare_alike(bundle: Path) -> None:
    """What is not the network's own - data, resolution, crops, batches, decay - is the same in every quick recipe.

    All begin with crops and end with whole images: in stages of their own, or by fine-tuning.
    """
    own = ("_desc_", "stages", "max_epochs", "learning_rate", "width", "crop_size", "fine_tuning", *own_options(bundle))
    quick = [read(b / "configs" / "train.json")["recipes"]["quick"] for b in (bundle, BUNDLES[0])]
    sizes, last = quick[0]["crop_size"], quick[0]["fine_tuning"]
    sizes = [sizes, last["crop_size"]] if last else list(sizes.values())
    assert (sizes[0], sizes[-1]) == (160, [384, 288])
    assert {k: v for k, v in quick[0].items() if k not in own} == {k: v for k, v in quick[1].items() if k not in own}


@each_bundle
def test_tissue_recipes_compare_alike_and_let_no_validation_score_choose(bundle: Path) -> None:
    own = ("_desc_", "stages", "max_epochs", "learning_rate", "width", *own_options(bundle))
    recipe, other = (read(b / "configs" / "train.json")["recipes"]["tissue"] for b in (bundle, BUNDLES[0]))
    assert {k: v for k, v in recipe.items() if k not in own} == {k: v for k, v in other.items() if k not in own}
    assert (recipe["keep"], recipe["patience"], recipe["init_weights"]) == ("last", 0, None)


@each_config
def test_no_absolute_path_and_nothing_that_reaches_outside(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r'"[$@]?(/|[A-Za-z]:\\|~)', text)
    for expression in expressions(read(path)):
        assert not re.search(r"__import__|os\.system|subprocess|https?:|requests|eval\(|exec\(", expression)


def strings(value: Any, key: str = "") -> list[tuple[str, str]]:
    """Every (key, text) of a config."""
    if isinstance(value, dict):
        return [pair for k, v in value.items() for pair in strings(v, k)]
    if isinstance(value, list):
        return [pair for v in value for pair in strings(v, key)]
    return [(key, value)] if isinstance(value, str) else []


@each_config
def test_only_known_code_is_named_and_imported(path: Path) -> None:
    own = read_network(path.parents[1])["network_def"]["_target_"].split(".")[0]
    ours = rf"(monai|torch|ignite|engines|nets|transforms|scripts|{own})(\.\w+)+"
    for key, text in strings(read(path)):
        if key == "_target_":
            assert re.fullmatch(rf"[A-Z]\w+|{ours}", text), text
        if re.match(r"\$(import|from) ", text):
            assert re.match(r"\$(import|from) (engines|nets|transforms|scripts|torch\.distributed)\b", text), text


@pytest.mark.parametrize("path", sorted(ROOT.glob("bundles/*/configs/*.*")), ids=lambda p: f"{p.parts[-3]}-{p.name}")
def test_no_place_of_a_machine_anywhere_in_the_configs(path: Path) -> None:
    """Also inside expressions, in metadata.json and in logging.conf."""
    assert not re.search(
        r"""["'](/(home|root|Users|mnt|data|work\w*|tmp|opt|usr|var|srv|media)\b|~/|[A-Za-z]:[\\/])""",
        path.read_text(encoding="utf-8"),
    )


@each_config
def test_expressions_are_short(path: Path) -> None:
    assert max(len(e) for e in expressions(read(path))) <= 160


@pytest.mark.parametrize("name", ["train", "evaluate", "inference"])
@each_bundle
def test_required_properties_are_there(bundle: Path, name: str) -> None:
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / f"{name}.json"),
        workflow_type="train" if name == "train" else "infer",
        logging_file=False,
    )
    missing = [
        key for key, spec in workflow.properties.items() if spec["required"] and spec["id"] not in workflow.parser
    ]
    assert missing == []


@each_bundle
def test_the_network_accepts_the_sizes_of_its_metadata(bundle: Path) -> None:
    configs = bundle / "configs"
    small = {"num_classes": 5, "width": 0.02}
    for n in (1, 2):
        verify_net_in_out(
            "network_def",
            meta_file=str(configs / "metadata.json"),
            config_file=str(configs / "train.json"),
            device="cpu",
            p=1,
            n=n,
            **small,
        )


@each_bundle
def test_logging_conf_and_metadata_are_not_needed_to_parse(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "configs" / "train.json"
    copy.parent.mkdir()
    copy.write_text((bundle / "configs" / "train.json").read_text())
    parser = ConfigParser()
    parser.read_config(str(copy))
    parser.parse()
    assert parser.get_parsed_content("max_epochs")


@pytest.mark.parametrize(
    ("settings", "norm"),
    [
        ({}, torch.nn.InstanceNorm2d),
        ({"norm": "instance"}, torch.nn.InstanceNorm2d),
        ({"norm": "batch"}, torch.nn.BatchNorm2d),
    ],
    ids=["of before the option", "instance", "batch"],
)
@pytest.mark.parametrize("name", ["evaluate", "inference"])
def test_the_unet_is_normalized_as_in_its_training(name: str, settings: dict[str, str], norm: type) -> None:
    parser = ConfigParser(read(ROOT / "bundles" / "unet" / "configs" / f"{name}.json"))
    parser.update({"settings": settings, "width": 0.05, "num_classes": 2, "members": None})
    layers = {type(layer) for layer in parser.get_parsed_content("network_def").modules()}
    assert {kind for kind in layers if issubclass(kind, torch.nn.modules.batchnorm._NormBase)} == {norm}


def test_the_unet_of_crops_has_batch_normalization_and_that_of_whole_images_has_not() -> None:
    recipes = read(ROOT / "bundles" / "unet" / "configs" / "train.json")["recipes"]
    assert {name: recipe["norm"] for name, recipe in recipes.items()} == {
        "quick": "batch", "tumor": "instance", "tissue": "instance", "paper": "instance", "cityscapes": "instance",
    }  # fmt: skip
