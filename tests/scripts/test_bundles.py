"""`scripts.bundles`: files written, refusal to overwrite, and bundles for custom networks."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT

from engines.base.network_file import all_rows, read_rows
from scripts import bundles
from scripts.bundlewriter.files import EditedByHandError, out_of_date, write_all
from scripts.bundlewriter.layout import WIDTH, layout
from scripts.bundlewriter.source import Common, bundle_configs, merged
from transforms.errors import UserError

ATTENTION = ["--network", "monai.networks.nets.AttentionUnet", "channels=[4,8]", "strides=[2]"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with only the bundle fcn."""
    for name in ("common", "fcn"):
        shutil.copytree(ROOT / "bundles" / name, tmp_path / "bundles" / name, ignore=shutil.ignore_patterns("models"))
    (tmp_path / "docs").mkdir()
    shutil.copyfile(ROOT / "docs" / "options.md", tmp_path / "docs" / "options.md")
    shutil.copyfile(ROOT / "LICENSE", tmp_path / "LICENSE")
    monkeypatch.setattr(bundles, "project_root", lambda: tmp_path)
    return tmp_path


def edit(path: Path, *keys: str, value: Any) -> None:
    """Set one entry of a JSON file."""
    content = entry = json.loads(path.read_text(encoding="utf-8"))
    for key in keys[:-1]:
        entry = entry.setdefault(key, {})
    entry[keys[-1]] = value
    path.write_text(layout(content), encoding="utf-8")


def train(root: Path, name: str = "fcn") -> dict[str, Any]:
    config: dict[str, Any] = json.loads((root / "bundles" / name / "configs" / "train.json").read_text("utf-8"))
    return config


# -- the configs and their source --------------------------------------------------------------------------------------


def test_check_is_quiet_until_a_source_changes_and_then_names_the_configs(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bundles.main(["--check"]) == 0
    edit(root / "bundles/common/options.json", "section", "evaluate", value="test")
    assert bundles.main(["--check"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "bundles/fcn/configs/evaluate.json: out of date; run make bundles"
    assert bundles.main([]) == 0
    assert "bundles/fcn/configs/evaluate.json" in capsys.readouterr().out.splitlines()
    assert bundles.main(["--check"]) == 0


def test_a_new_option_is_one_edit(root: Path) -> None:
    """Its entry in options.json: every recipe, the recorded options, the config and the page have it."""
    option = {"_desc_": "Share of pixels that is left out.", "recipe": 0.25}
    edit(root / "bundles/common/options.json", "dropped", value=option)
    assert bundles.main([]) == 0
    config = train(root)
    assert {recipe["dropped"] for recipe in config["recipes"].values()} == {0.25}
    assert config["dropped"] == "$@recipes[@recipe]['dropped']"
    assert config["options"]["dropped"] == "@dropped"
    keys = list(config)
    assert keys[keys.index("dropped") - 1] == "_desc_dropped"
    assert "| `dropped` | ✓ |  |  | Share of pixels that is left out. |" in (root / "docs/options.md").read_text(
        "utf-8"
    )


def test_a_new_recipe_states_what_differs(root: Path) -> None:
    recipe = {"based_on": "tissue", "_desc_": "longer", "max_epochs": 500}
    edit(root / "bundles/common/recipes.json", "long", value=recipe)
    assert bundles.main([]) == 0
    recipes = train(root)["recipes"]
    assert recipes["long"] == {**recipes["tissue"], "_desc_": "longer", "max_epochs": 500}


@pytest.mark.parametrize(
    ("file", "keys", "value", "message"),
    [
        ("common/recipes.json", ("quick", "max_epoch"), 3, "recipe quick has the unknown option max_epoch"),
        (
            "common/recipes.json",
            ("tissue", "based_on"),
            "papers",
            "recipe tissue is based on papers; expected a preceding",
        ),
        ("common/options.json", ("seed", "_desc_"), "@seed", "seed: its _desc_ is '@seed'; expected one sentence"),
        ("fcn/network.json", ("recipe",), {}, "unknown key 'recipe'; expected recipes"),
        ("fcn/network.json", ("title",), "", "title is ''; expected a text"),
        ("fcn/network.json", ("network_def",), {}, "network_def has no _target_"),
        ("fcn/network.json", ("options",), {"depth": {"recipe": 3}}, "depth: its _desc_ is ''; expected one sentence"),
        ("fcn/network.json", ("options",), {"seed": {"_desc_": "Own."}}, "seed is an option of all networks"),
    ],
    ids=lambda value: value if isinstance(value, str) and "/" in value else None,
)
def test_a_source_that_is_wrong_is_one_line(
    root: Path, file: str, keys: tuple[str, ...], value: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(root / "bundles" / file, *keys, value=value)
    assert bundles.main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_config_edited_by_hand_is_shown_and_kept(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "bundles/fcn/configs/train.json"
    path.write_text(path.read_text("utf-8").replace('"seed": 0', '"seed": 7'), encoding="utf-8")
    edit(root / "bundles/common/options.json", "section", "evaluate", value="test")
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert bundles.main([]) == 2
    said = capsys.readouterr()
    assert '-    "seed": 7,\n+    "seed": 0,\n' in said.out
    assert said.err.startswith("error: bundles/fcn/configs/train.json: edited by hand; make the change in")
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before
    assert bundles.main(["--force"]) == 0
    assert train(root)["seed"] == 0
    assert out_of_date(root) == []


def test_line_endings_are_no_edit(root: Path) -> None:
    path = root / "bundles/fcn/configs/train.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    edit(root / "bundles/common/options.json", "seed", "train", value=1)
    write_all(root)
    assert train(root)["seed"] == 1


def test_a_config_of_unknown_origin_is_not_overwritten(root: Path) -> None:
    (root / "bundles/fcn/generated.sha256").unlink()
    edit(root / "bundles/fcn/configs/train.json", "seed", value=3)
    with pytest.raises(EditedByHandError, match=r"train\.json: edited by hand"):
        write_all(root)


def test_merging_is_key_by_key_and_keeps_the_place() -> None:
    base = {"a": 1, "b": {"c": [1], "d": 2}, "e": {}}
    assert merged(base, {"b": {"c": [2]}, "e": {"f": 3}, "g": 4}) == {
        "a": 1, "b": {"c": [2], "d": 2}, "e": {"f": 3}, "g": 4,
    }  # fmt: skip
    assert list(merged(base, {"b": 0})) == ["a", "b", "e"]


def test_the_network_s_own_words_come_last(root: Path) -> None:
    folder = root / "bundles" / "fcn"
    edit(folder / "network.json", "evaluate", "section", value="test")
    made = bundle_configs(folder, Common.read(root / "bundles" / "common"))
    assert made["evaluate"]["section"] == "test"
    assert made["inference"]["network_def"].items() >= made["train"]["network_def"].items()


def test_an_option_of_one_network_alone(root: Path) -> None:
    folder = root / "bundles" / "fcn"
    edit(folder / "network.json", "options", value={"depth": {"_desc_": "Its depth.", "recipe": 3, "evaluate": 4}})
    edit(folder / "network.json", "recipes", "tumor", "depth", value=5)
    made = bundle_configs(folder, Common.read(root / "bundles" / "common"))
    train = made["train"]
    assert train["_desc_depth"] == made["evaluate"]["_desc_depth"] == "Its depth."
    assert (train["depth"], made["evaluate"]["depth"]) == ("$@recipes[@recipe]['depth']", 4)
    assert "depth" not in made["inference"]
    assert train["options"]["depth"] == "@depth"
    assert {name: recipe["depth"] for name, recipe in train["recipes"].items()} == {
        "quick": 3, "tumor": 5, "tissue": 3, "paper": 3, "cityscapes": 3,
    }  # fmt: skip


def test_the_layout_is_json_with_short_things_on_one_line() -> None:
    content = {"a": [1, {"b": "ä"}], "long": {str(n): "x" * 40 for n in range(5)}, "c": {}, "d": None}
    text = layout(content)
    assert json.loads(text) == content
    assert text.startswith('{\n    "a": [1, {"b": "ä"}],\n\n    "long": {\n        "0": "xxx')
    assert text.endswith('    },\n\n    "c": {},\n    "d": null\n}\n')
    lines = [line for path in ROOT.glob("bundles/*/configs/*.json") for line in path.read_text("utf-8").splitlines()]
    long = [line for line in lines if len(line) > WIDTH]
    assert all(re.fullmatch(r'\s*("\w+": )?"([^"\\]|\\.)*",?', line) for line in long), "a single text"


# -- custom networks ---------------------------------------------------------------------------------------------------


def test_a_new_bundle_is_complete_and_changes_no_other_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert bundles.main(["new", "attention", *ATTENTION, "--title", "Attention U-Net"]) == 0
    assert "bundles/attention/configs/train.json" in capsys.readouterr().out
    folder = root / "bundles" / "attention"
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == {
        "LICENSE", "docs/README.md", "docs/data_license.txt", "network.json", "generated.sha256",
        *(f"configs/{p.name}" for p in (root / "bundles/fcn/configs").iterdir()),
    }  # fmt: skip
    assert {p: p.read_bytes() for p in before} == before
    assert out_of_date(root) == []
    rows = all_rows(root / "bundles")
    assert list(rows) == ["fcn", "attention"]
    written = json.loads((root / "bundles/attention/configs/metadata.json").read_text())["network_data_format"]
    assert written["inputs"]["image"]["spatial_shape"] == ["2*n+2", "2*n+2"]
    assert rows["attention"].stages == {"attentionunet": "Attention U-Net"}
    assert train(root, "attention")["network_def"] == {
        "_target_": "monai.networks.nets.AttentionUnet", "spatial_dims": 2, "in_channels": 3,
        "out_channels": "@num_classes", "channels": [4, 8], "strides": [2],
    }  # fmt: skip
    assert len((folder / "network.json").read_text("utf-8").splitlines()) <= 30
    assert "{" not in (folder / "docs" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fcn", *ATTENTION], "already exists"),
        (["Mine", *ATTENTION], "Mine: invalid bundle name"),
        (["mIne", *ATTENTION], "mIne: invalid bundle name"),
        (["müne", *ATTENTION], "müne: invalid bundle name"),
        (["mine", "--network", "monai.networks.nets.Nothing"], "cannot be imported"),
        (["mine", "--network", "nowhere.Net"], "No module named 'nowhere'); install its package first"),
        (["mine", *ATTENTION[:-1]], "missing strides; give each as NAME=VALUE"),
        (
            ["mine", *ATTENTION, "stride=2"],
            "stride: unknown argument of monai.networks.nets.AttentionUnet; choose from",
        ),
        (["mine", *ATTENTION, "stride"], "stride: expected NAME=VALUE"),
        (["mine", *ATTENTION, "kernel_size=many"], "cannot be built"),
        (["mine", *ATTENTION, "out_channels=2"], "returns 2 classes; expected 5"),
        (["mine", "--network", "torch.nn.AdaptiveAvgPool3d", "output_size=2"], "expected logits"),
        (
            ["mine", "--network", "torch.nn.Flatten"],
            "Flatten turns images (2, 3, 64, 64) into (2, 12288); expected logits",
        ),
        (["mine", "--network", "sys.maxunicode"], "--network sys.maxunicode: is 1114111; specify a class of networks"),
    ],
    ids=[
        "taken",
        "capital",
        "camel",
        "umlaut",
        "class",
        "package",
        "missing",
        "unknown",
        "no value",
        "broken",
        "classes",
        "3-D",
        "flat",
        "number",
    ],
)
def test_what_cannot_be_a_bundle_is_one_line_and_leaves_nothing(
    root: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bundles.main(["new", *words]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert message in line
    assert {p.name for p in (root / "bundles").iterdir()} == {"common", "fcn"}


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("(image[:, :1].repeat(1, 5, 1, 1))", "has no weights that can be trained"),
        ("self.layer(image).detach()", "has no weights that can be trained"),
        ("self.layer(image).round().to(torch.int64)", "returns torch.int64; expected logits of a floating point type"),
        ("self.layer(image).to(torch.complex64)", "returns torch.complex64; expected logits"),
    ],
)
def test_a_network_that_cannot_be_trained_is_no_bundle(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    last: str,
    message: str,
) -> None:
    module = f"cannot_be_trained_{len(last)}"
    lines = ["import torch", "class Net(torch.nn.Module):", "    def __init__(self, num_classes):"]
    lines += ["        super().__init__()", "        self.layer = torch.nn.Conv2d(3, num_classes, 1)"]
    lines += ["    def forward(self, image):", f"        return {last}"]
    (tmp_path / f"{module}.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert bundles.main(["new", "mine", "--network", f"{module}.Net"]) == 2
    assert message in capsys.readouterr().err
    assert not (root / "bundles" / "mine").exists()


def test_names_are_in_the_order_of_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert bundles.main(["names"]) == 0
    assert capsys.readouterr().out.split()[:4] == ["fcn", "unet", "dilation10", "deeplabv3"]


def test_rows_need_a_network_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"network\.json: cannot be read"):
        read_rows(tmp_path)
