"""Several trainings as one network: scored, and segmenting images, through a bundle's configs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ensemble_factory import make_training, network_of
from mlflow.tracking import MlflowClient
from refusals import refused

from engines.inference.inferers import PaddedInferer
from engines.records.ensemble_members import member_files
from engines.scoring.metrics import confusion_matrix
from transforms.dataset import Dataset
from transforms.load import LoadWholed
from transforms.normalize import NormalizeRanged
from transforms.outputs.dicom_seg import weights_digest
from transforms.working_resolution import resize_image

Run = Callable[..., None]


@pytest.fixture
def members(tiny_dataset: Path, tmp_path: Path) -> list[str]:
    """Two networks of different bundles, one of which works on 20 rows instead of 40, and averages mirror images."""
    data = Dataset.load(tiny_dataset)
    first = make_training(tmp_path / "a", data, "fcn", seed=0)
    second = make_training(tmp_path / "b", data, "dilation10", seed=100, image_height=20, mirror_averaging=True)
    return [str(first), str(second / "models" / "front.pt")]


def probabilities(tiny_dataset: Path, item: dict[str, object]) -> torch.Tensor:
    """The mean of both members' probabilities (1, C, H, W), written out."""
    read = LoadWholed("image")({**item})
    image = NormalizeRanged("image")(read)["image"].expand(3, -1, -1)[None]
    small = resize_image(image[0], (20, 16))[None]
    first, second = network_of("fcn", 0), network_of("dilation10", 100)
    with torch.no_grad():
        whole = PaddedInferer()(image, first).softmax(1)
        there = PaddedInferer()(small, second).softmax(1)
        back = PaddedInferer()(small.flip(-1), second).flip(-1).softmax(1)
        enlarged = torch.nn.functional.interpolate(((there + back) / 2).log(), size=(40, 32), mode="bilinear")
    return (whole + enlarged.softmax(1)) / 2


def test_an_ensemble_is_scored_as_one_network(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, members: list[str], store: Path
) -> None:
    run_bundle("evaluate", bundle="unet", dataset_dir=str(tiny_dataset), members=members)
    out = tmp_path / "out" / "eval" / "tiny-validation-ensemble"
    kept = json.loads((out / "confusion-ensemble.json").read_text(encoding="utf-8"))
    for item in Dataset.load(tiny_dataset).items("validation"):
        pred = probabilities(tiny_dataset, item).argmax(1)
        expected = confusion_matrix(torch.from_numpy(np.load(item["label"]))[None], pred, 3)
        assert len(np.flatnonzero(expected.sum(axis=0))) > 1  # the networks of this test do not say one thing
        assert np.abs(np.array(kept["subjects"][item["subject"]]) - expected).sum() <= 2  # a tie, by rounding
    record = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["training"]
    assert [each["stage"] for each in record["members"]] == ["fcn8", "front"]
    assert record["stage"] == "ensemble"
    assert record["dataset"] == "tiny"
    assert record["run_id"] is None
    assert str(tmp_path) not in (out / "evaluation.json").read_text() + (out / "config.json").read_text()
    client = MlflowClient(f"sqlite:///{store}")
    (run,) = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
    assert run.data.tags["title"] == "Ensemble of FCN8, Dilation10 Front"
    assert run.data.tags["bundle"] == "ensemble dilation10/front fcn/fcn8"
    assert run.data.tags["stage"] == "ensemble"
    assert "width" not in run.data.params


def test_an_operating_point_written_by_hand(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, members: list[str]
) -> None:
    file = tmp_path / "members.json"
    file.write_text(json.dumps({"members": members, "operating_point": {"threshold": 0.3}}), encoding="utf-8")
    run_bundle("evaluate", bundle="unet", dataset_dir=str(tiny_dataset), members=str(file))
    record = json.loads(next((tmp_path / "out" / "eval").glob("*/lesions-ensemble.json")).read_text(encoding="utf-8"))
    point = {"threshold": 0.3, "min_lesion_score": 0.3, "rule": "as given", "chosen_on": "unknown subjects"}
    assert record["operating_point"] == point


def test_an_ensemble_that_knows_a_scored_subject_is_refused(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, members: list[str]
) -> None:
    with refused("was trained on 4 of the 4 training subjects of tiny, such as s000"):
        run_bundle("evaluate", bundle="fcn", dataset_dir=str(tiny_dataset), members=members, section="training")
    assert not (tmp_path / "out" / "eval").exists()


def test_images_are_segmented_with_the_disagreement(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, members: list[str]
) -> None:
    results = tmp_path / "results"
    run_bundle(
        "inference",
        bundle="unet",
        dataset_dir=str(tiny_dataset),
        members=members,
        results_dir=str(results),
        formats=["nifti", "probabilities", "disagreement"],
    )
    item = Dataset.load(tiny_dataset).items("training")[0]
    mean = probabilities(tiny_dataset, item)[0]
    label = nib.load(results / "s000_L_CC_seg.nii.gz").get_fdata()[..., 0].T
    assert (label != mean.argmax(0).numpy()).sum() <= 2
    kept = nib.load(results / "s000_L_CC_prob.nii.gz").get_fdata()[:, :, 0].transpose(2, 1, 0)
    assert kept == pytest.approx(mean.numpy(), abs=1e-5)
    differing = nib.load(results / "s000_L_CC_disagreement.nii.gz").get_fdata()[..., 0].T
    assert differing.shape == (40, 32)
    assert 0 <= differing.min() < differing.max() < 0.5
    files = tuple(member_files(members))
    assert len({weights_digest(files), weights_digest(files[0]), weights_digest(files[::-1]), "unknown"}) == 4
    assert weights_digest(("there is none", *files)) == "unknown"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"image_height": 30}, "--image_height: each member of an ensemble has its own"),
        ({"members": ["nowhere", "unet=nowhere"]}, "--members: nowhere: no trained model here"),
        ({"members": []}, "--members: expected two trainings or more, got 0"),  # not the network of output_dir
        ({"members": ""}, "--members : expected a list of trainings"),
        ({"members": None, "formats": ["disagreement"]}, "disagreement needs an ensemble; give --members"),
    ],
)
def test_what_does_not_go_with_an_ensemble(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, members: list[str], words: dict[str, object], message: str
) -> None:
    given = {"members": members, "output_dir": str(tmp_path / "a"), "results_dir": str(tmp_path / "r"), **words}
    with refused(message):
        run_bundle("inference", bundle="fcn", dataset_dir=str(tiny_dataset), **given)
