"""Mean of several networks' probabilities, members of ensembles, and refusal of images that they were trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset_factory import make_dataset
from ensemble_factory import make_training
from torch import Tensor, nn

from engines.inference.ensemble import Ensemble, Member
from engines.inference.whole_image import WholeImageInferer
from engines.records.ensemble_members import ensemble_settings, ensemble_tags, trained_members
from engines.records.seen_subjects import check_unseen, seen_subjects, warn_of_seen
from nets import FCN
from transforms.dataset import Dataset
from transforms.decision import Decision
from transforms.errors import UserError
from transforms.working_resolution import upsampled_probability


class Says(nn.Module):
    """A network with the same probabilities for every pixel, which records the size of its input."""

    def __init__(self, *probabilities: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(probabilities).log()[None, :, None, None] + 1.0)
        self.strides = ()
        self.shown: list[tuple[int, ...]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.shown.append(tuple(image.shape))
        return self.logits.repeat(len(image), 1, *image.shape[-2:])


@torch.no_grad()
def test_the_mean_and_the_disagreement_by_hand() -> None:
    one, other = Says(0.8, 0.2), Says(0.4, 0.6)
    ensemble = Ensemble([Member(one, 10), Member(other, mirror_averaging=True)], disagreement=True).eval()
    logits = ensemble(torch.zeros(2, 3, 20, 16))
    assert logits.shape == (2, 2, 20, 16)
    assert logits.exp()[1, :, 7, 3].tolist() == pytest.approx([0.6, 0.4])
    # the variance of 0.8 and 0.4 is 0.04, that of 0.2 and 0.6, too
    assert ensemble.disagreement is not None
    assert ensemble.disagreement.shape == (2, 1, 20, 16)
    assert ensemble.disagreement.flatten().tolist() == pytest.approx([0.08] * 640, abs=1e-6)
    assert one.shown == [(1, 3, 10, 8)] * 2
    assert other.shown == [(1, 3, 20, 16)] * 4
    sure = Ensemble([Member(Says(1.0, 1e-44)), Member(Says(1e-44, 1.0))], disagreement=True)
    assert sure(torch.zeros(1, 3, 4, 4)).exp().unique().tolist() == [0.5]
    assert sure.disagreement is not None
    assert sure.disagreement.unique().tolist() == [0.5]
    alike = Ensemble([Member(Says(1.0, 1e-44)), Member(Says(1.0, 1e-44))])
    assert bool(alike(torch.zeros(1, 3, 4, 4)).isfinite().all())  # its smaller probability is 0
    assert alike.disagreement is None


def test_of_one_network_it_changes_nothing() -> None:
    torch.manual_seed(0)
    network = FCN(3, width=0.02).eval()
    image = torch.rand(1, 3, 24, 24)
    with torch.no_grad():
        expected = upsampled_probability(WholeImageInferer()(image, network)[0], [2], (60, 60))
        shown = torch.nn.functional.interpolate(image, (60, 60), mode="nearest")
        ensemble = Ensemble([Member(network, 24), Member(network, 24)], disagreement=True).eval()
        logits = WholeImageInferer()(shown, ensemble)
        labels = WholeImageInferer(labels=True, decision=Decision((2,), 0.3))(shown, ensemble)
    # an image enlarged by a whole number and shrunk again, antialiased, is nearly the same
    assert upsampled_probability(logits[0], [2], (60, 60)).numpy() == pytest.approx(expected.numpy(), abs=0.02)
    assert torch.equal(labels[0], Decision((2,), 0.3)(logits[0]))
    assert ensemble.disagreement is not None
    assert float(ensemble.disagreement.max()) == pytest.approx(0, abs=1e-6)


@pytest.fixture
def data(tiny_dataset: Path) -> Dataset:
    return Dataset.load(tiny_dataset)


def test_members_are_trainings_of_any_bundle(data: Dataset, tmp_path: Path) -> None:
    a = make_training(tmp_path / "a", data, "fcn", 1, operating_point={"threshold": 0.1})
    b = make_training(tmp_path / "b=c", data, "dilation10", 2, recipe="paper")
    c = make_training(tmp_path / "c", data, "fcn", 3)
    bare = json.loads((c / "models" / "fcn8.json").read_text())
    del bare["bundle"]
    (c / "models" / "fcn8.json").write_text(json.dumps(bare))
    given = [str(a), str(b / "models" / "front.pt"), f"fcn={c / 'models' / 'fcn8.pt'}"]
    members = trained_members(given)
    assert [member.bundle.name for member in members] == ["fcn", "dilation10", "fcn"]
    assert [member.weights for member in members] == ["model", "front", "fcn8"]
    tags = ensemble_tags(members)
    assert tags["title"] == "Ensemble of 2 x FCN8, Dilation10 Front"
    settings = ensemble_settings(given)
    assert settings["dataset"] == "tiny"
    assert settings["stage"] == "ensemble"
    assert settings["operating_point"] is None
    assert not {"recipe", "seed", "run_id", "weights_sha256"} & settings.keys()
    file = tmp_path / "ensemble.json"
    file.write_text(json.dumps({"members": ["a", "fcn=c/models/fcn8.pt"], "operating_point": {"threshold": 0.4}}))
    assert [member.folder for member in trained_members(str(file))] == [a, c]
    assert ensemble_settings(str(file))["operating_point"] == {"threshold": 0.4}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a"], "expected two trainings or more, got 1"),
        ([], "expected two trainings or more, got 0"),
        (["a", "a/models/fcn8.pt"], "a/models/fcn8.pt holds the same weights as .*a; give each training once"),
        (["a", "gray"], "flip of .*gray is left, that of .*a none"),
        (["a", "two"], "labels of .*two is background, tumor, that of .*a background, gland, tumor"),
        (["a", "old"], "an older version trained it and did not record its bundle; prefix the bundle, as in 'unet="),
        (["a", "none"], "none: no trained model here; expected a folder that holds models/"),
        ("a", r"--members .*a: expected a list of trainings such as"),
        ("list.json", r"list.json: expected a list of trainings"),
        ("broken.json", "broken.json: cannot be read"),
        ("missing.json", "missing.json: cannot be read"),
    ],
)
def test_what_is_no_ensemble(data: Dataset, tmp_path: Path, given: Any, message: str) -> None:
    make_training(tmp_path / "a", data, seed=1)
    make_training(tmp_path / "gray", data, seed=2, flip="left")
    make_training(tmp_path / "two", data, seed=3, labels={"0": "background", "1": "tumor"})
    make_training(tmp_path / "old", data, seed=4)
    record = tmp_path / "old" / "models" / "model.json"
    record.write_text(record.read_text().replace('"bundle": "fcn"', '"bundle": null'))
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "broken.json").write_text("{")
    texts = str(tmp_path / given) if isinstance(given, str) else [str(tmp_path / text) for text in given]
    with pytest.raises(UserError, match=message):
        trained_members(texts)
    with pytest.raises(UserError, match=r"unett=.*: unknown bundle unett; choose from deeplabv3, dilation10"):
        trained_members([str(tmp_path / "a"), f"unett={tmp_path / 'gray'}"][::-1])


def test_subjects_that_a_training_knows(data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    models = make_training(tmp_path / "a", data) / "models"
    assert seen_subjects(models, data, "training") == {"s000", "s001", "s002", "s003"}
    assert seen_subjects(models, data, "validation") == set()
    with caplog.at_level("WARNING", "mammoseg"):
        warn_of_seen(models, data, "validation")
        assert caplog.messages == []
        warn_of_seen(models, data, "all")
    (said,) = caplog.messages
    assert said.startswith("4 of the 6 subjects of section all of tiny were trained on: ")
    # the folds' data set: the same images in other sections
    content = json.loads((data.root / "dataset.json").read_text())
    content["test"] = [content["training"].pop()]
    folder = shutil.copytree(data.root, tmp_path / "other")
    # another view of s003, which the training never had, in a data set that has images of it
    np.save(folder / "images" / "s003_L_MLO.npy", np.load(folder / "images" / "s003_L_CC.npy")[::-1])
    content["test"][0]["image"] = "images/s003_L_MLO.npy"
    (folder / "dataset.json").write_text(json.dumps(content))
    assert seen_subjects(models, Dataset.load(folder), "test") == {"s003"}
    # the same image under another name
    content["test"][0] |= {"image": "images/s003_L_CC.npy", "subject": "s099"}
    (folder / "dataset.json").write_text(json.dumps(content))
    assert seen_subjects(models, Dataset.load(folder), "test") == {"s099"}
    with pytest.raises(UserError, match="was trained on 1 of the 1 test subjects of tiny, such as s099; score an"):
        check_unseen(trained_members([str(make_training(tmp_path / n, data, seed=len(n))) for n in ("b", "cc")]),
                     Dataset.load(folder), "test")  # fmt: skip
    # other women under the same running numbers
    others = Dataset.load(make_dataset(tmp_path / "others", seed=5))
    assert seen_subjects(models, others, "training") == set()


def test_without_a_record_it_is_said(data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folders = [make_training(tmp_path / name, data, seed=len(name)) for name in ("a", "bb")]
    (folders[1] / "models" / "data.json").write_text('{"files": []}')
    assert seen_subjects(folders[1] / "models", data, "training") is None
    with caplog.at_level("WARNING", logger="mammoseg"):
        check_unseen(trained_members([str(folder) for folder in folders]), data, "validation")
    assert "bb: its training left no data.json; whether it saw these subjects is unknown" in caplog.text
