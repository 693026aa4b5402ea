"""Parts of a shared bundle."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from monai.apps.utils import HashCheckError
from monai.bundle import ConfigParser, download_large_files, verify_metadata
from repository import ROOT
from sharing_factory import SETTINGS, make_trained

from engines.base.network_file import all_rows
from scripts.share import main, parse_formats
from scripts.sharing import archive, documents, exports, metadata
from scripts.sharing.code import copy_code, script_names
from scripts.sharing.identity import check_documents
from scripts.sharing.pack import ShareOptions, stage, zip_path
from scripts.sharing.requirements import installed, required_packages
from scripts.sharing.trained import Trained, find_bundle, find_trained
from transforms.digests import file_sha256
from transforms.errors import UserError

BUNDLES = list(all_rows())
PAPER = ["deeplabv3", "dilation10", "fcn", "unet"]


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    return find_trained("unet", make_trained(tmp_path / "out"))


def completed(trained: Trained, **changes: Any) -> dict[str, Any]:
    return metadata.complete(trained, **{"packages": {"pydicom": "3.0.2"}, "multiple": 16, **changes})


class TestWhatIsShared:
    def test_no_absolute_path_comes_with_the_settings(self, trained: Trained) -> None:
        assert trained.settings["init_weights"] == "vgg16.pth"
        assert trained.classes == ["background", "gland", "tumor"]
        assert "iou/tumor" not in trained.scores

    def test_without_a_training_there_is_nothing_to_share(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no trained model here"):
            find_trained("unet", tmp_path)

    def test_a_bundle_is_found_by_name_and_path(self) -> None:
        assert find_bundle("fcn") == find_bundle(str(ROOT / "bundles" / "fcn")) == ROOT / "bundles" / "fcn"
        with pytest.raises(UserError, match=r"resnet: not a bundle .* from .*deeplabv3, dilation10, .*fcn, .*unet"):
            find_bundle("resnet")

    def test_more_than_weights_is_refused(self, tmp_path: Path) -> None:
        output = make_trained(tmp_path / "out")
        torch.save({"network": {}, "names": "Jane Doe"}, output / "models" / "model.pt")
        with pytest.raises(UserError, match="holds more than named weights"):
            find_trained("unet", output)

    def test_settings_of_another_program_are_refused(self, tmp_path: Path) -> None:
        output = make_trained(tmp_path / "out")
        (output / "models" / "model.json").write_text('{"labels": {}}')
        with pytest.raises(UserError, match="has no stage, width, image_height, mirror_averaging"):
            find_trained("unet", output)


class TestCode:
    @pytest.mark.parametrize("bundle", BUNDLES)
    def test_every_import_of_the_copied_code_is_there(self, bundle: str, tmp_path: Path) -> None:
        files = copy_code(ROOT, ROOT / "bundles" / bundle, tmp_path)
        own = {"nets", "transforms", "engines", "scripts"}
        pattern = r"^\s*(?:from|import) ((?:nets|transforms|engines|scripts)[\w.]*)"
        for path in files:
            for name in re.findall(pattern, path.read_text(encoding="utf-8"), re.MULTILINE):
                place = tmp_path.joinpath(*name.split("."))
                assert place.with_suffix(".py").is_file() or (place / "__init__.py").is_file(), f"{path}: {name}"
        assert {p.name for p in tmp_path.iterdir()} == own
        assert (tmp_path / "transforms" / "dataset.schema.json").is_file()
        assert (tmp_path / "scripts" / "__init__.py").is_file()

    def test_of_the_scripts_only_what_is_needed(self, tmp_path: Path) -> None:
        copy_code(ROOT, ROOT / "bundles" / "unet", tmp_path)
        assert {p.name for p in (tmp_path / "scripts").glob("*.py")} == {
            "__init__.py", "commandline.py", "prepare.py", "sample.py",
        }  # fmt: skip
        assert not list(tmp_path.rglob("__pycache__"))

    def test_scripts_named_in_configs(self) -> None:
        assert script_names(ROOT / "bundles" / "unet" / "configs") >= {"scripts.sample", "scripts.prepare"}

    def test_versions_are_those_installed(self, tmp_path: Path) -> None:
        packages = required_packages(copy_code(ROOT, ROOT / "bundles" / "unet", tmp_path))
        assert {"pydicom", "nibabel", "itk-io", "mlflow", "pytorch-ignite", "scikit-image", "fire"} <= set(packages)
        assert not {"monai", "torch", "numpy", "pytest", "onnxruntime", "ruff"} & set(packages)
        assert packages["pydicom"] == installed("pydicom")
        assert installed("no such package") is None
        assert not [number for number in packages.values() if "+" in number]


class TestMetadata:
    def test_what_the_training_says(self, trained: Trained) -> None:
        made = completed(trained, version="1.2.3", changelog="our data", authors="A group")
        pred = made["network_data_format"]["outputs"]["pred"]
        assert (pred["num_channels"], pred["channel_def"]) == (3, SETTINGS["labels"])
        assert pred["spatial_shape"] == ["16*n+16", "16*n+16"]
        assert made["eval_metrics"]["mean_iou"] == 0.51239
        assert "iou/tumor" not in made["eval_metrics"]
        assert (made["version"], made["changelog"]["1.2.3"], made["authors"]) == ("1.2.3", "our data", "A group")
        assert made["required_packages_version"] == {"pydicom": "3.0.2"}
        assert made["monai_version"] == installed("monai")
        assert "+" not in made["pytorch_version"]
        assert made["dataset"]["licence"] == "CC BY-NC-ND 4.0"
        assert made["intensity"]["windowing"] == "voi"
        assert made["intensity"]["possible_values_of_training_images"] == [[0, 4095]]
        assert trained.metadata["version"] == "0.1.0", "the bundle's own is left alone"

    @pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.0-rc1", "latest"])
    def test_versions_are_three_numbers(self, trained: Trained, version: str) -> None:
        with pytest.raises(UserError, match="expected three numbers"):
            completed(trained, version=version)

    @pytest.mark.usefixtures("no_network")
    @pytest.mark.parametrize("bundle", BUNDLES)
    def test_metadata_of_the_repository_fits_the_schema(self, bundle: str) -> None:
        metadata.check(json.loads((ROOT / "bundles" / bundle / "configs" / "metadata.json").read_text()))

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda m: m.pop("authors"), "authors"),
            (lambda m: m["network_data_format"]["outputs"]["pred"].pop("channel_def"), "channel_def"),
            (lambda m: m["changelog"].clear(), "changelog"),
            (lambda m: m.update(eval_metrics={"mean_iou": "good"}), "eval_metrics"),
            (lambda m: m["network_data_format"]["inputs"]["image"].update(spatial_shape=["any"]), "spatial_shape"),
        ],
        ids=["authors", "channels", "changelog", "metrics", "shape"],
    )
    def test_what_breaks_the_schema_is_named(self, trained: Trained, spoil: Any, message: str) -> None:
        made = completed(trained)
        spoil(made)
        with pytest.raises(UserError, match=message):
            metadata.check(made)

    @pytest.mark.usefixtures("no_network")
    def test_monai_s_own_command_accepts_it(self, trained: Trained, tmp_path: Path) -> None:
        """With our schema in place of the one it downloads: it downloads nothing where the file is already."""
        path, schema = tmp_path / "metadata.json", shutil.copy(metadata.SCHEMA, tmp_path / "schema.json")
        path.write_text(json.dumps(completed(trained)))
        known = {"filepath": str(schema), "hash_val": file_sha256(metadata.SCHEMA), "hash_type": "sha256"}
        verify_metadata(meta_file=str(path), **known)
        path.write_text(json.dumps({**completed(trained), "task": ""}))
        with pytest.raises(ValueError, match="should be non-empty"):
            verify_metadata(meta_file=str(path), **known)

    def test_the_schema_is_one(self) -> None:
        jsonschema.Draft202012Validator.check_schema(json.loads(metadata.SCHEMA.read_text()))


def _copy_readme(folder: Path, name: str, **instead: str) -> None:
    text = (ROOT / "bundles" / name / "docs" / "README.md").read_text(encoding="utf-8")
    for old, new in instead.items():
        text = text.replace(old, new)
    (folder / "docs" / "README.md").write_text(text, encoding="utf-8")


class TestDocuments:
    @pytest.mark.parametrize("bundle", BUNDLES)
    def test_documents_are_the_bundle_s_own(self, bundle: str, trained: Trained) -> None:
        metadata_ = json.loads((ROOT / "bundles" / bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
        check_documents(Trained(ROOT / "bundles" / bundle, trained.weights, trained.settings, metadata_))

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda f, m: m.update(name="Segmentation with FCN"), r"metadata\.json: name: names FCN; expected U-Net"),
            (lambda f, m: _copy_readme(f, "fcn"), r"README\.md: names FCN; expected U-Net, the title"),
            (lambda f, m: _copy_readme(f, "fcn", FCN="U-Net"), r"README\.md: names the bundle fcn; expected unet"),
        ],
        ids=["metadata", "overview", "commands"],
    )
    def test_documents_of_another_network_are_refused(
        self, spoil: Any, message: str, trained: Trained, tmp_path: Path
    ) -> None:
        folder = tmp_path / "unet"
        shutil.copytree(ROOT / "bundles" / "unet", folder, ignore=shutil.ignore_patterns("models", "eval"))
        changed = dict(trained.metadata)
        spoil(folder, changed)
        with pytest.raises(UserError, match=message):
            check_documents(Trained(folder, trained.weights, trained.settings, changed))

    @pytest.mark.parametrize("bundle", PAPER)
    def test_figures_of_other_trainings_are_gone(self, bundle: str, trained: Trained) -> None:
        own = Trained(ROOT / "bundles" / bundle, trained.weights, trained.settings, trained.metadata)
        original = (own.bundle / "docs" / "README.md").read_text()
        section = re.search(r"### What to expect.*?(?=^## )", original, re.DOTALL | re.MULTILINE)
        assert section is not None
        figures = set(re.findall(r"\d\d\.\d\d", section[0]))
        text = documents.readme(own, completed(own))
        assert len(figures) >= 3
        assert not [figure for figure in figures if figure in text]
        assert "What to expect" not in text
        assert "five classes" not in text
        assert "bundles/" not in text
        assert "| 91.23 | 51.24 | 61.23 | 71.23 |" in text
        assert "| tumor | – | – |" in text
        assert text.count("## References") == text.count("## Training") == text.count("## Scores") == 1

    def test_terms_and_reference_of_the_data(self, trained: Trained) -> None:
        text = documents.data_licence(trained, None)
        assert "CC BY-NC-ND 4.0" in text
        assert "A. Author, A data set, 2020" in text
        assert "not for commercial use" in text
        assert "ND in a license" in text
        assert "own terms" in documents.data_licence(trained, "own terms")

    def test_sections(self) -> None:
        text = "# A\n\n## B\nold\n### C\nold\n\n## D\nnew\n"
        assert documents.replace_section(text, "## B", "## B\nx\n") == "# A\n\n## B\nx\n## D\nnew\n"
        assert documents.replace_section(text, "### C", "") == "# A\n\n## B\nold\n## D\nnew\n"
        assert documents.replace_section(text, "## E", "## E\n") == text + "\n## E\n"
        assert documents.insert_before(text, "## D", "x\n").index("x\n") < text.index("## D") + 2
        assert documents.insert_before(text, "## E", "x\n") == text + "\nx\n"

    def test_links_of_the_guides_lead_somewhere(self, tmp_path: Path) -> None:
        page = tmp_path / "data.md"
        page.write_text("[a](options.md) [b](../mlflow/README.md) [c](https://example.org) [d](#e)")
        assert documents.guide(page) == "[a](options.md) b [c](https://example.org) [d](#e)"


class TestArchive:
    def folder(self, tmp_path: Path, name: str = "unet") -> Path:
        folder = tmp_path / name
        (folder / "models").mkdir(parents=True)
        (folder / "models" / "model.pt").write_bytes(bytes(1000))
        (folder / "a.txt").write_text("a")
        return folder

    def test_the_same_content_is_the_same_bytes(self, tmp_path: Path) -> None:
        first, second = self.folder(tmp_path / "1"), self.folder(tmp_path / "2")
        (second / "a.txt").chmod(0o600)
        for folder in (first, second):
            archive.write_sums(folder)
            archive.write_zip(folder, folder.parent / "x.zip")
        assert (tmp_path / "1" / "x.zip").read_bytes() == (tmp_path / "2" / "x.zip").read_bytes()
        with zipfile.ZipFile(tmp_path / "1" / "x.zip") as made:
            assert made.namelist() == ["unet/SHA256SUMS", "unet/a.txt", "unet/models/model.pt"]
            assert {entry.date_time for entry in made.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert sorted(p.name for p in (tmp_path / "1").iterdir()) == ["unet", "x.zip"]

    def test_sums(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path)
        archive.write_sums(folder)
        digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"  # of "a", FIPS 180 examples
        assert f"{digest}  a.txt\n" in (folder / "SHA256SUMS").read_text()

    def test_monai_finds_large_files_in_their_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = self.folder(tmp_path)
        assert archive.write_large_files(folder) == []
        assert not (folder / "large_files.yml").exists()
        assert archive.write_large_files(folder, limit=100) == ["models/model.pt"]
        listed = ConfigParser.load_config_file(str(folder / "large_files.yml"))["large_files"]
        digest = file_sha256(folder / "models" / "model.pt")
        assert listed == [{"path": "models/model.pt", "url": "", "hash_val": digest, "hash_type": "sha256"}]
        download_large_files(str(folder))
        (folder / "models" / "model.pt").write_bytes(b"changed")
        with pytest.raises(HashCheckError, match="hash check of existing file failed"):
            download_large_files(str(folder))

    def test_folders_of_this_machine_are_not_shared(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path)
        archive.refuse_traces(folder, [tmp_path / "home", Path("/")])
        (folder / "b.bin").write_bytes(b"\0" + str(tmp_path / "home" / "data").encode())
        with pytest.raises(UserError, match=r"b\.bin: contains the path"):
            archive.refuse_traces(folder, [tmp_path / "home"])

    def test_folders_that_every_machine_has_tell_nothing(self, tmp_path: Path) -> None:
        """archive/data/0 occurs in every file of torch.save, and /usr/ in a guide."""
        folder = self.folder(tmp_path)
        (folder / "b.bin").write_bytes(b"\0archive/data/0 archive/code/ /usr/bin/mlflow /usr/local/lib")
        archive.refuse_traces(folder, [Path("/data"), Path("/code"), Path("/usr"), Path("/usr/local")])

    def test_where_the_zip_goes(self, tmp_path: Path) -> None:
        assert zip_path(tmp_path, "unet", "1.0.0", False) == tmp_path / "mammoseg_unet_v1.0.0.zip"
        assert zip_path(tmp_path / "X.ZIP", "unet", "1.0.0", False) == tmp_path / "X.ZIP"
        there = tmp_path / "x.zip"
        assert zip_path(there, "unet", "1.0.0", False) == there
        there.write_text("")
        assert zip_path(there, "unet", "1.0.0", True) == there
        with pytest.raises(UserError, match="--overwrite"):
            zip_path(there, "unet", "1.0.0", False)


class TestExports:
    """Comparison and sizes; the formats themselves are in test_share_bundle."""

    def test_the_greatest_difference_is_found(self) -> None:
        network = torch.nn.Conv2d(3, 2, 1)
        assert exports.compare(network, network)[0] == 0
        difference, allowed = exports.compare(lambda x: network(x) + 1e-3, network)
        assert difference == pytest.approx(1e-3, rel=0.1)
        assert 1e-4 <= allowed < difference

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_is_not_finite_is_refused(self, value: float) -> None:
        network = torch.nn.Conv2d(3, 2, 1)
        with pytest.raises(UserError, match="exported: gives logits that are not finite"):
            exports.compare(lambda x: network(x).index_fill(3, torch.tensor([2]), value), network)
        torch.nn.init.constant_(network.bias, value)
        with pytest.raises(UserError, match="the checkpoint: gives logits that are not finite"):
            exports.compare(network, network)

    def test_another_shape_is_refused(self) -> None:
        network = torch.nn.Conv2d(3, 2, 1)
        with pytest.raises(UserError, match="turns"):
            exports.compare(lambda x: network(x)[..., 1:], network)

    def test_sides_are_those_the_network_takes(self) -> None:
        network = torch.nn.Conv2d(3, 2, 1)
        assert exports.images(network, 1, 97, 130).shape == (1, 3, 97, 130)
        network.strides = (2, 2, 2, 2)
        assert exports.images(network, 1, 97, 130).shape == (1, 3, 112, 144)
        assert float(exports.images(network, 1, 97, 130).abs().max()) <= 0.5

    def test_rewriting_leaves_out_traces_and_times(self, tmp_path: Path) -> None:
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as made:
            made.writestr("x/data.pkl", b"1")
            made.writestr("x/code.py.debug_pkl", b"/home/somebody/code.py")
        exports.rewrite(path, leave_out=(".debug_pkl",))
        with zipfile.ZipFile(path) as made:
            assert [(e.filename, e.date_time[0]) for e in made.infolist()] == [("x/data.pkl", 1980)]


class TestCommand:
    def test_formats(self) -> None:
        assert parse_formats("onnx, ts") == ("pt", "ts", "onnx")
        assert parse_formats("") == ("pt",)
        with pytest.raises(UserError, match="--formats trt: unknown; choose from pt, ts, pt2, onnx"):
            parse_formats("ts,trt")

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["resnet", "OUT"], "resnet: not a bundle"),
            (["unet", "OUT", "--output_dir", "NOWHERE"], "no trained model here"),
            (["unet", "OUT", "--output_dir", "TRAINED", "--version", "one"], "--version one"),
            (["unet", "OUT", "--output_dir", "TRAINED", "--formats", "h5"], "--formats h5"),
            (["unet", "OUT", "--output_dir", "UNLICENSED"], "no license is recorded"),
        ],
        ids=["bundle", "model", "version", "format", "licence"],
    )
    def test_one_line_and_2(
        self, words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_trained(tmp_path / "TRAINED")
        make_trained(tmp_path / "UNLICENSED", licence="")
        places = {name: str(tmp_path / name) for name in ("OUT", "NOWHERE", "TRAINED", "UNLICENSED")}
        assert main([places.get(word, word) for word in words]) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(errors) == 1
        assert message in errors[0]
        assert not (tmp_path / "OUT").exists()

    def test_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--help"]) == 0
        printed = capsys.readouterr().out
        assert all(f"--{name}" in printed for name in ("output_dir", "version", "changelog", "data_licence", "json"))


def test_the_staged_folder(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "stage" / "unet"
    stage(trained, folder, ShareOptions(version="2.0.0"))
    configs = {p.name for p in (ROOT / "bundles" / "unet" / "configs").iterdir()}
    assert {p.name for p in (folder / "configs").iterdir()} == configs
    for name in configs - {"metadata.json"}:
        assert (folder / "configs" / name).read_bytes() == (ROOT / "bundles/unet/configs" / name).read_bytes()
    assert json.loads((folder / "models" / "model.json").read_text())["init_weights"] == "vgg16.pth"
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
