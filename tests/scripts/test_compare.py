"""`scripts.compare` on imitated stores: selection, refusals, scores and files."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from repository import ROOT
from scipy.stats import wilcoxon

from engines.base.network_file import NetworkRows, all_rows
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.predictions import write_images, write_label_maps
from engines.scoring.confusion_files import write_confusion_files
from engines.scoring.holm import holm
from engines.scoring.intervals import widening
from engines.scoring.lesion_files import LesionResult, write_lesion_result
from engines.scoring.matching import FALSE, HIT, ImageLesions, Judged, Lesion, Rule
from engines.scoring.metrics import PAPER_METRICS, scores
from scripts.compare import main
from scripts.comparison.models import LAST, Model, model_of
from scripts.comparison.report import file_names
from scripts.comparison.statistics import INTERVALS, intervals, p_values, pooled, subject_mean_iou

TITLES = ["FCN32", "FCN16", "FCN8", "U-Net", "Dilation10 Front", "Dilation10 Context", "Dilation10 Global", "DeepLabv3"]
"""The rows of Tables 9 and 10."""

LABELS = {"0": "background", "1": "gland", "2": "tumor <&>"}


def matrices(right: float, subjects: int = 8, seed: int = 0, first: int = 0) -> dict[str, np.ndarray]:
    """Subjects of 1000 pixels, of which about the share `right` is right."""
    rng = np.random.default_rng(seed)
    out = {}
    for number in range(first, first + subjects):
        share = min(1.0, max(0.0, right + rng.normal(0, 0.03)))
        good = (np.array([600, 300, 100]) * share).astype(int)
        matrix = np.diag(good)
        matrix[[0, 1, 2], [1, 2, 0]] += np.array([600, 300, 100]) - good
        out[f"s{number:03d}"] = matrix
    return out


Add = Callable[..., None]


@pytest.fixture
def add(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Add:
    """Put a training of stages into the store, as `engines.train` would, but for its charts."""
    monkeypatch.setattr("engines.scoring.confusion_files.save_figure", lambda figure, path: path)
    monkeypatch.setattr("engines.scoring.confusion_files.confusion_figure", lambda *_: None)
    monkeypatch.setattr("engines.scoring.confusion_files.class_figure", lambda *_: None)
    count = 0

    def go(
        stages: dict[str, dict[str, np.ndarray]],
        dataset: str = "tiny",
        digest: str = "d" * 64,
        name: str = "run",
        tags: dict[str, str] | None = None,
        pictures: bool = False,
        params: dict[str, Any] | None = None,
        status: str = "FINISHED",
        lesions: dict[str, LesionResult] | None = None,
        rows: NetworkRows | None = None,
    ) -> None:
        nonlocal count
        count += 1
        output = Output(tmp_path / f"out {count}")
        about = {"labels": LABELS, "dataset": dataset, "dataset_digest": digest, "split_digest": "s"}
        tracking = Tracking("e", name, str(store), params or {"recipe": "quick", "seed": 0}, tags=tags)
        tracking.tags["kind"] = "training"
        tracking.rows = rows
        tracking.start()
        for stage, subjects in stages.items():
            tracking.start_stage(stage, {"learning_rate": 0.1})
            for path in write_confusion_files(output, stage, subjects, about, "validation"):
                tracking.log_artifacts(path, "eval", tracking.stage_run_id)
            if lesions and stage in lesions:
                path = write_lesion_result(output, stage, lesions[stage], {**about, "section": "validation"})
                tracking.log_artifacts(path, "eval", tracking.stage_run_id)
            if pictures:
                write_label_maps(output.predictions / stage, {"c1": np.eye(9, dtype=np.uint8)})
                write_label_maps(output.predictions / "truth", {"c1": np.zeros((9, 9), np.uint8)})
                write_images(output.predictions / "image", {"c1": np.zeros((9, 9, 3), np.uint8)})
                tracking.log_artifacts(output.predictions, "eval/predictions")
            tracking.end_stage({"mean_iou": 0.5})
        tracking.end(status)
        assert not tracking.failed

    return go


Compare = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def compare(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compare:
    """Run the command, return its rows."""

    def go(*words: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        code = main([*_where(store, tmp_path), "--json", *words])
        said = capsys.readouterr()
        assert code == 0, said.err
        return json.loads(said.out)

    return go


def _where(store: Path, tmp_path: Path) -> list[str]:
    return [
        "--experiment_name",
        "e",
        "--tracking_uri",
        str(store),
        "--out",
        str(tmp_path / "comparison"),
        "--draws",
        "100",
    ]


@pytest.fixture
def refused(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command, return the one line with which it ends."""

    def go(*words: str) -> str:
        assert main([*_where(store, tmp_path), *words]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    return go


WITHOUT_TORCH = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "monai", "ignite", "itk", "pydicom"):
            raise ModuleNotFoundError(f"{name} is imported", name=name)
sys.meta_path.insert(0, Refused())
from scripts import compare
sys.exit(compare.main(sys.argv[1:]))
"""


def test_a_comparison_of_runs_needs_no_torch(store: Path, tmp_path: Path, add: Add) -> None:
    """Whose import takes longer than all else."""
    add({"fcn8": matrices(0.9)}, lesions={"fcn8": lesions_of(0.9)}, pictures=True)
    add({"unet": matrices(0.8)}, pictures=True)
    words = [sys.executable, "-c", WITHOUT_TORCH, *_where(store, tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "comparison" / "index.html").is_file()


# -- statistics --------------------------------------------------------------------------------------------------------


def test_intervals_are_those_of_resampled_subjects() -> None:
    subjects = matrices(0.8, subjects=12)
    expected: dict[str, list[float]] = {name: [] for name in INTERVALS}
    names = sorted(subjects)
    for times in np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), size=200):
        drawn = sum(n * subjects[name] for n, name in zip(times, names, strict=True))
        for metric in INTERVALS:
            expected[metric].append(scores(drawn)[metric])
    for metric, bounds in intervals(subjects, 200, 3).items():
        value = scores(pooled(subjects))[metric]
        wide = value + widening(12) * (np.array(expected[metric]) - value)
        assert bounds == pytest.approx(np.percentile(wide, [2.5, 97.5]).clip(0, 1), abs=1e-12)
        assert bounds[0] < scores(pooled(subjects))[metric] < bounds[1]
    assert intervals(subjects, 200, 3) == intervals(dict(reversed(subjects.items())), 200, 3)


def test_subjects_that_are_all_alike_leave_no_doubt_and_one_subject_no_interval() -> None:
    low, high = intervals({f"s{n}": np.diag([5, 5]) + 1 for n in range(4)})["mean_iou"]
    assert low == high
    assert all(np.isnan(intervals({"s": np.eye(2, dtype=np.int64)})["mean_iou"]))


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_p_values_are_wilcoxon_s() -> None:
    made = [matrices(0.7, seed=1), matrices(0.9, seed=2), matrices(0.89, seed=3), matrices(0.9, seed=2)]
    rows = [subject_mean_iou(each) for each in made]
    raw = [wilcoxon(row - rows[1]).pvalue for row in (rows[0], rows[2])]
    given = p_values(rows, best=1)
    assert given[1] is None
    assert given[3] == 1.0  # the same on every subject
    assert [given[0], given[2]] == pytest.approx(holm([*raw, 1.0])[:2])


# -- what is compared --------------------------------------------------------------------------------------------------


def test_rows_are_the_paper_s_in_its_order(add: Add, compare: Compare) -> None:
    add({"deeplabv3": matrices(0.9)}, name="deeplabv3")
    add({"front": matrices(0.6), "context": matrices(0.7), "global": matrices(0.8)}, name="dilation10")
    add({"unet": matrices(0.5)}, name="unet")
    add({"fcn32": matrices(0.2), "fcn16": matrices(0.3), "fcn8": matrices(0.4)}, name="fcn")
    rows = compare()
    titles = [title for network in all_rows().values() for title in network.stages.values()][:8]
    assert titles == TITLES
    assert [row["model"] for row in rows] == ["all background", *titles]
    expected = scores(pooled(matrices(0.7)))
    context = next(row for row in rows if row["model"] == "Dilation10 Context")
    for name in PAPER_METRICS:
        assert context[name] == pytest.approx(expected[name])
        assert context[f"{name}_low"] < context[name] < context[f"{name}_high"]
    assert rows[-1]["p"] is None  # the best
    assert 0 < context["p"] <= 1


def test_rows_are_those_that_the_runs_are_tagged_with_and_need_no_bundle(add: Add, compare: Compare) -> None:
    """Two networks with a stage of the same name are two rows; a run without tags is the row of its stage."""
    add({"unet": matrices(0.5)}, name="old")
    add({"unet": matrices(0.9)}, name="wide", rows=NetworkRows("wide_unet", "Wide", 9, {"unet": "Wide U-Net"}))
    add({"b": matrices(0.7), "a": matrices(0.8)}, rows=NetworkRows("mine", "Mine", 0, {"b": "Mine B", "a": "Mine A"}))
    assert [row["model"] for row in compare()[1:]] == ["Mine B", "Mine A", "U-Net", "Wide U-Net"]
    add({"unet": matrices(0.6)}, name="new", rows=all_rows()["unet"])
    assert [row["run_name"] for row in compare()[3:]] == ["new unet", "wide unet"]


def test_the_row_of_a_stage_that_nobody_knows_is_called_like_it() -> None:
    assert model_of({}, "segresnet") == Model("", "segresnet", LAST)
    assert model_of({"bundle": "b", "title": "B", "order": "first"}, "x") == Model("b", "B", LAST)


def test_the_latest_of_each_row_unless_told(add: Add, compare: Compare, refused: Callable[..., str]) -> None:
    add({"unet": matrices(0.5)}, name="first", tags={"site": "a"})
    add({"unet": matrices(0.9)}, name="second")
    assert [row["run_name"] for row in compare()[1:]] == ["second unet"]
    assert [row["run_name"] for row in compare("--tag", "site=a")[1:]] == ["first unet"]
    assert [row["run_name"] for row in compare("--run", "first unet")[1:]] == ["first unet"]
    assert [row["run_name"] for row in compare("--run", "first")[1:]] == ["first unet"]  # the training's name
    both = compare("--all")
    assert [row["run_name"] for row in both[1:]] == ["first unet", "second unet"]
    assert all(re.fullmatch(r"U-Net, (first|second) unet \(\w{8}\)", row["model"]) for row in both[1:])
    one = compare("--run", both[1]["run_ids"][:10])
    assert [row["run_name"] for row in one[1:]] == ["first unet"]
    assert "no matching finished result" in refused("--tag", "site=b")
    assert "--tag site: expected KEY=VALUE" in refused("--tag", "site")


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_training_that_went_to_its_end_comes_before_a_later_one_that_did_not(
    status: str, add: Add, compare: Compare
) -> None:
    add({"fcn32": matrices(0.5), "fcn16": matrices(0.6)}, name="whole")
    add({"fcn32": matrices(0.9)}, name="broken off", status=status)
    assert [row["run_name"] for row in compare()[1:]] == ["whole fcn32", "whole fcn16"]
    assert len(compare("--all")) == 4
    assert [row["run_name"] for row in compare("--run", "broken off")[1:]] == ["broken off fcn32"]
    add({"unet": matrices(0.9)}, name="alone", status=status)
    assert [row["run_name"] for row in compare()[1:]] == ["whole fcn32", "whole fcn16", "alone unet"]


def test_different_subjects_or_data_are_not_mixed(add: Add, compare: Compare, refused: Callable[..., str]) -> None:
    add({"unet": matrices(0.5)}, name="one")
    add({"deeplabv3": matrices(0.5, first=3)}, name="two")
    message = refused()
    assert re.search(r"one unet \(\w{8}\) on 8 validation subjects", message)
    assert re.search(r"two deeplabv3 \(\w{8}\) on 8 validation subjects", message)
    assert "scored on different images" in message
    add({"deeplabv3": matrices(0.5)}, digest="e" * 64, name="three")
    assert re.search(r"three deeplabv3 \(\w{8}\).*digest eeeeeeeeeeee", refused())
    assert [row["model"] for row in compare("--dataset", "eeee")[1:]] == ["DeepLabv3"]


def test_each_data_set_has_a_table_and_a_chart(add: Add, compare: Compare, tmp_path: Path) -> None:
    add({"unet": matrices(0.5)}, dataset="first set/ä", digest="a" * 64)
    add({"unet": matrices(0.6)}, dataset="second", digest="b" * 64)
    assert [row["dataset"] for row in compare()] == ["first set/ä"] * 2 + ["second"] * 2
    assert {p.name for p in (tmp_path / "comparison").glob("chart*")} == {"chart-first_set_ä.png", "chart-second.png"}
    compare("--dataset", "second")
    assert {p.name for p in (tmp_path / "comparison").glob("chart*")} == {"chart-second.png"}


def test_evaluations_on_another_section(store: Path, tmp_path: Path, add: Add, compare: Compare) -> None:
    add({"unet": matrices(0.5)})
    output = Output(tmp_path / "evaluation", "test")
    tracking = Tracking("e", "unet evaluation", str(store), tags={"kind": "evaluation", "stage": "unet"})
    tracking.start()
    about = {"labels": LABELS, "dataset": "tiny", "dataset_digest": "d" * 64, "split_digest": "s"}
    for path in write_confusion_files(output, "unet", matrices(0.8, first=20), about, "test"):
        tracking.log_artifacts(path, "eval")
    tracking.end("FINISHED")
    assert [row["run_name"] for row in compare()[1:]] == ["run unet"]
    rows = compare("--section", "test")
    assert [(row["run_name"], row["section"]) for row in rows[1:]] == [("unet evaluation", "test")]


def test_runs_without_matrices_or_that_failed_are_left_out(
    add: Add, store: Path, compare: Compare, refused: Callable[..., str]
) -> None:
    old = Tracking("e", "old", str(store))
    old.start()
    old.start_stage("unet", {})
    old.end_stage({"mean_iou": 0.5})
    old.end("FINISHED")
    assert "1 runs are from a version without confusion matrices" in refused()
    failed = Tracking("e", "failed", str(store))
    failed.start()
    failed.start_stage("front", {})
    failed.end("FAILED")
    add({"unet": matrices(0.5)})
    assert [row["model"] for row in compare()[1:]] == ["U-Net"]


def test_no_store_and_no_experiment(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "o")]
    assert main(["--tracking_uri", "http://127.0.0.1:9", *out]) == 2
    assert "does not answer" in capsys.readouterr().err
    assert main(["--tracking_uri", str(store), "--experiment", "nothing", *out]) == 2
    assert "--experiment_name nothing: not in" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("damage", ["noise", "text", "cut", "page"])
def test_a_damaged_store_is_one_line(
    store: Path, add: Add, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    add({"unet": matrices(0.5)})
    content, damaged = store.read_bytes(), tmp_path / "damaged.db"
    page = len(content) // 2 // 4096 * 4096
    damaged.write_bytes(
        {
            "noise": bytes(range(256)) * 20,
            "text": b"subject,fold\n",
            "cut": content[:30_000],
            "page": content[:4096] + b"\xff" * page + content[4096 + page :],
        }[damage]
    )
    assert main(["--tracking_uri", str(damaged), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert "damaged.db: the MLflow store does not answer (" in error
    assert len(error.splitlines()) == 1


HEAD = '"row": "unet", "section": "validation", "dataset": "d", "dataset_digest": "e"'
TWO = f'{{{HEAD}, "classes": ["a", "b"], "subjects": '
EDITED = ("[[1, 0], [2]]", "[[1, 0, 0], [2, 1, 0]]", "[[1, 0], [-2, 1]]", "[[1, 0], [0.5, 1]]", '[["1", 0], [0, 1]]')


@pytest.mark.parametrize(
    "content",
    [
        *("[]", "{}", '{"subjects": 5}', '{"classes": 5, "subjects": {"a": [1]}}', TWO, TWO + "{}}"),
        *(f'{TWO}{{"s1": {matrix}, "s2": [[1, 0], [0, 1]]}}}}' for matrix in EDITED),
    ],
)
def test_confusion_matrices_that_somebody_edited_are_one_line(
    store: Path, add: Add, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    add({"unet": matrices(0.5)})
    for path in tmp_path.rglob("confusion-unet.json"):
        path.write_text(content)
    assert main(["--tracking_uri", str(store), "--experiment", "e", "--out", str(tmp_path / "o")]) == 2
    assert "are damaged (" in capsys.readouterr().err


def test_a_truncated_file_of_lesions_is_not_a_run_without_lesions(
    store: Path, add: Add, tmp_path: Path, refused: Callable[..., str]
) -> None:
    add({"unet": matrices(0.5)})
    (path,) = (tmp_path / "mlruns").rglob("confusion-unet.json")
    path.with_name("lesions-unet.json").write_text('{"format": 1, "row": "unet", ')
    assert "are damaged (JSONDecodeError)" in refused()


def folds(add: Add, stage: str, right: float, count: int = 3, of: int = 3, ident: str = "x") -> None:
    for fold in range(count):
        tags = {"crossval": ident, "crossval_name": f"{stage} x{of}", "fold": str(fold + 1), "folds": str(of)}
        subjects = matrices(right, subjects=4, seed=fold, first=4 * fold)
        add({stage: subjects}, digest=str(fold) * 64, tags=tags)


@pytest.mark.parametrize("tags", [{"fold": "one"}, {"fold": "1", "folds": "many"}])
def test_folds_that_are_not_numbers(add: Add, refused: Callable[..., str], tags: dict[str, str]) -> None:
    add({"unet": matrices(0.5)}, tags=tags)
    assert "expected numbers in the tags fold and folds" in refused("--crossval")


def test_cross_validations_are_pooled_over_their_folds(
    add: Add, compare: Compare, refused: Callable[..., str], tmp_path: Path
) -> None:
    folds(add, "unet", 0.6)
    folds(add, "deeplabv3", 0.8, ident="y")
    folds(add, "front", 0.7, count=2, ident="z")  # unfinished
    assert "no matching finished result" in refused()
    rows = compare("--crossval")
    assert [row["model"] for row in rows[1:]] == ["U-Net", "DeepLabv3"]
    each = [matrices(0.6, subjects=4, seed=fold, first=4 * fold) for fold in range(3)]
    together = {name: matrix for fold in each for name, matrix in fold.items()}
    assert rows[1]["subjects"] == 12
    assert rows[1]["mean_iou"] == pytest.approx(scores(pooled(together))["mean_iou"])
    means = [scores(pooled(fold))["mean_iou"] for fold in each]
    assert rows[1]["mean_iou_fold_mean"] == pytest.approx(np.mean(means))
    assert rows[1]["mean_iou_fold_sd"] == pytest.approx(np.std(means, ddof=1))
    assert "Mean ± standard deviation over 3 folds" in (tmp_path / "comparison" / "index.html").read_text("utf-8")


def test_a_subject_in_two_folds_is_refused(add: Add, refused: Callable[..., str]) -> None:
    for fold in (1, 2):
        tags = {"crossval": "x", "crossval_name": "leaky", "fold": str(fold), "folds": "2"}
        add({"unet": matrices(0.5)}, tags=tags)
    assert "leaky: subject s000 is in two folds" in refused("--crossval")


# -- what is written ---------------------------------------------------------------------------------------------------


def test_the_table_of_the_paper(add: Add, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add({"unet": matrices(0.5)})
    add({"deeplabv3": matrices(0.9)}, params={"recipe": "paper", "seed": 0})
    assert main(_where(store, tmp_path)) == 0
    text = capsys.readouterr().out
    lines = [re.split(r"\s{2,}", line) for line in text.splitlines()]
    assert ["Model", "Pixel accuracy", "Mean IoU", "Mean class accuracy", "p"] in lines
    best = next(line for line in lines if line[0] == "DeepLabv3")
    value = 100 * scores(pooled(matrices(0.9)))["mean_iou"]
    assert re.fullmatch(rf"{value:.2f} \* \[\d\d\.\d\d, \d\d\.\d\d\]~", best[2])
    assert best[-1] == "best"
    assert "Different training: recipe is paper, quick." in text
    assert "Means are over the 3 of 3 classes that occur." in text
    assert "Too few subjects (8)" in text


def test_rows_of_another_precision_are_marked_and_runs_from_before_the_option_were_fp32(
    add: Add, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add({"unet": matrices(0.5)})
    add({"fcn8": matrices(0.4)}, params={"recipe": "quick", "seed": 0, "precision": "fp32"})
    assert main(_where(store, tmp_path)) == 0
    assert "precision is" not in capsys.readouterr().out
    add({"deeplabv3": matrices(0.9)}, params={"recipe": "quick", "seed": 0, "precision": "bf16"})
    assert main(_where(store, tmp_path)) == 0
    assert "Different training: precision is bf16, fp32." in capsys.readouterr().out


def test_files(add: Add, compare: Compare, tmp_path: Path) -> None:
    add({"unet": matrices(0.5)}, pictures=True)
    add({"deeplabv3": matrices(0.9)}, pictures=True)
    compare()
    out = tmp_path / "comparison"
    names = {"index.html", "comparison.md", "comparison.csv", "differences.csv", "chart-tiny.png", "pictures-tiny.png"}
    names |= {"worst.csv"}
    assert {p.name for p in out.iterdir()} == names
    with (out / "comparison.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["model"] for row in rows] == ["all background", "U-Net", "DeepLabv3"]
    assert float(rows[1]["iou/gland"]) == pytest.approx(scores(pooled(matrices(0.5)))["iou/1"])
    text = (out / "comparison.md").read_text(encoding="utf-8")
    value = 100 * scores(pooled(matrices(0.9)))["mean_iou"]
    assert f"**{value:.2f}** [" in text
    assert "| Model | background | gland | tumor &lt;&amp;&gt; |" in text


class Page(HTMLParser):
    """Collects resources that a page would load, and checks that its elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.alts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loaded += [given[key] or "" for key in ("src", "href") if key in given]
        if tag == "img" and given.get("src"):
            self.alts.append(given["alt"] or "")
        if tag not in ("img", "input", "meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_holds_everything_itself(add: Add, compare: Compare, tmp_path: Path) -> None:
    add({"unet": matrices(0.5)}, pictures=True)
    compare()
    text = (tmp_path / "comparison" / "index.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.loaded) == 4  # the chart, and image, truth and prediction of one case
    assert all(source.startswith("data:image/png;base64,") for source in page.loaded)
    assert page.alts[1:] == ["image of c1", "truth of c1", "U-Net of c1"]
    assert "http" not in text
    assert text.count("<script>") == text.count("<script") == 1
    assert text.count('class="viewer live"') == 1
    assert "tumor &lt;&amp;&gt;" in text
    assert "color-scheme: light dark" in text
    assert 'name="viewport"' in text


def test_the_same_store_gives_the_same_files(add: Add, compare: Compare, tmp_path: Path) -> None:
    add({"unet": matrices(0.5)}, pictures=True)
    contents = []
    for _ in range(2):
        compare()
        contents.append({p.name: p.read_bytes() for p in (tmp_path / "comparison").iterdir()})
    assert contents[0] == contents[1]


def test_help_says_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert "index.html" in said
    assert "--crossval" in said


def test_no_two_data_sets_share_a_file() -> None:
    names = file_names(["a b", "a_b", "A b", "a_b_2", "??", "乳腺", "dataset"])
    assert names == ["a_b", "a_b_2", "A_b_3", "a_b_2_2", "dataset", "乳腺", "dataset_2"]


# -- lesions -----------------------------------------------------------------------------------------------------------


def lesions_of(score: float, rule: Rule | None = None, subjects: int = 8, first: int = 0) -> LesionResult:
    """One image per subject: every other subject's lesion is found at `score`; a false positive of 0.4 in each."""
    images = []
    for number in range(first, first + subjects):
        hit = score if number % 2 else None
        lesion = Lesion(100, 0.01, 12.0, (0, 0, 10, 10), hit, 0.5)
        candidates = [Judged(0.4, 9, (20, 20, 23, 23), FALSE)]
        candidates += [Judged(hit, 100, (0, 0, 10, 10), HIT, 0)] if hit else []
        images.append(ImageLesions(f"s{number:03d}", f"s{number:03d}_L", 4, 4, 1, (lesion,), tuple(candidates)))
    return LesionResult(("tumor <&>",), rule or Rule(), tuple(images))


def test_lesions_have_columns_intervals_and_a_chart(add: Add, compare: Compare, tmp_path: Path) -> None:
    stages = {"front": matrices(0.6), "context": matrices(0.7), "fcn8": matrices(0.5)}
    add(stages, lesions={"front": lesions_of(0.9), "context": lesions_of(0.3)})
    rows = {row["model"]: row for row in compare()}
    front, context = rows["Dilation10 Front"], rows["Dilation10 Context"]
    assert front["lesion_sensitivity_at_0.25fp"] == 0.5
    assert context["lesion_sensitivity_at_0.25fp"] == 0  # its lesions come after eight false positives
    assert context["lesion_sensitivity_at_1fp"] == front["lesion_sensitivity_at_1fp"] == 0.5
    assert 0 <= front["lesion_sensitivity_at_1fp_low"] < 0.5 < front["lesion_sensitivity_at_1fp_high"] <= 1
    assert front["mean_image_dice"] == front["mean_image_dice_low"] == 0.25
    assert rows["FCN8"].get("lesion_sensitivity_at_1fp") is None
    page = (tmp_path / "comparison" / "index.html").read_text(encoding="utf-8")
    assert "FROC curves of the table above" in page
    assert "1 rows are from a version without lesion counts." in page
    assert "Lesions (tumor &lt;&amp;&gt;): 8 in 8 images; a hit is: IoU of at least 0.1" in page
    assert (tmp_path / "comparison" / "froc-tiny.png").is_file()
    assert "Lesions, per cent" in (tmp_path / "comparison" / "comparison.md").read_text(encoding="utf-8")


def test_groups_need_an_attribute_that_is_known(
    add: Add, compare: Compare, refused: Callable[..., str], tmp_path: Path
) -> None:
    add({"front": matrices(0.6), "context": matrices(0.7)}, lesions={"front": lesions_of(0.9)})
    assert "--by density: unknown for these images; choose from size" in refused("--by", "density")
    table = tmp_path / "a.csv"
    table.write_text("subject,density\n" + "".join(f"s{n:03d},B\n" for n in range(8)), encoding="utf-8")
    compare("--by", "density", "--attributes", str(table))
    assert not (tmp_path / "comparison" / "groups.csv").exists()  # one group is none


def test_lesions_counted_by_different_rules_are_not_compared(add: Add, compare: Compare, tmp_path: Path) -> None:
    stages = {"front": matrices(0.6), "context": matrices(0.7)}
    add(stages, lesions={"front": lesions_of(0.9), "context": lesions_of(0.3, Rule("overlap", 25))})
    assert all("lesion_sensitivity_at_1fp" not in row for row in compare())
    text = (tmp_path / "comparison" / "comparison.md").read_text(encoding="utf-8")
    assert "Lesions were counted by different rules and are not compared" in text
    assert not (tmp_path / "comparison" / "froc-tiny.png").exists()
