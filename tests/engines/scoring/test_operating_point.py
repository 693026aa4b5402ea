"""Operating points: chosen on hand-made images, out of fold, stored, and followed by every way to a mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset_factory import make_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.inference.tiling.tiled_inferer import TiledInferer
from engines.inference.whole_image import WholeImageInferer
from engines.scoring.histogram import THRESHOLDS, at_each_threshold, histogram
from engines.scoring.matching import ImageLesions, judge
from engines.scoring.operating_point import (
    at_point,
    choose_point,
    decision_of,
    min_score_of,
    out_of_fold_points,
    rule_rate,
)
from engines.training.held_out import held_out_items, held_out_subjects, training_items
from nets import FCN
from transforms.argmax import ArgmaxLiked
from transforms.dataset import Dataset
from transforms.decision import Decision
from transforms.errors import UserError
from transforms.working_resolution import upsampled_argmax, upsampled_probability


def an_image(number: int, seed: int, lesion: bool = True, fog: float = 0.0) -> ImageLesions:
    """A square of uncertain probability, and noise."""
    rng = np.random.default_rng(1000 * seed + number)
    truth = np.zeros((30, 30), bool)
    truth[8:18, 8:18] = lesion
    p = (0.25 * rng.random((30, 30)) + 0.2 * truth + fog).astype(np.float32).clip(0, 1)
    return judge(f"s{seed}{number}", f"s{seed}{number}_L", truth, p >= 0.5, p)


# -- histograms --------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.sampled_from([7, 1000, 0]))
def test_a_histogram_knows_the_mask_at_every_threshold(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random((20, 20)).astype(np.float32)
    p = (np.round(p * levels) / levels).astype(np.float32) if levels else p  # on the edges of the bins
    truth, valid = rng.random((20, 20)) < 0.3, rng.random((20, 20)) < 0.9
    shared, predicted, size = at_each_threshold(histogram(p, truth, valid))
    assert size == (truth & valid).sum()
    for place in range(0, len(THRESHOLDS), 37):
        mask = (torch.from_numpy(p) >= float(THRESHOLDS[place])).numpy() & valid
        assert (shared[place], predicted[place]) == ((mask & truth).sum(), mask.sum())


def test_certain_pixels_are_in_every_mask() -> None:
    p = np.array([[1.0, 0.0]], np.float32)
    shared, predicted, size = at_each_threshold(histogram(p, p > 0.5, np.ones_like(p, bool)))
    assert (shared == 1).all()
    assert (predicted == 1).all()
    assert size == 1


# -- choosing ----------------------------------------------------------------------------------------------------------


def test_the_best_dice_is_chosen_and_is_that_of_the_mask() -> None:
    images = [an_image(n, 1) for n in range(4)]
    point = choose_point(images, "dice", "x", ["tumor"])
    pooled = []
    for threshold in THRESHOLDS:
        masks = [at_point(image, replace(point, threshold=float(threshold))) for image in images]
        pooled.append(2 * sum(m.shared for m in masks) / sum(m.truth + m.predicted for m in masks))
    assert pooled[round(point.threshold * 1000) - 1] == max(pooled)
    assert 0.2 < point.threshold < 0.3
    assert point.min_lesion_score == point.threshold
    assert (point.subjects, point.lesion_classes) == (4, ("tumor",))


def test_of_equal_thresholds_the_middle_is_taken() -> None:
    truth = np.zeros((4, 4), bool)
    truth[0, 0] = True
    p = np.where(truth, 0.8, 0.2).astype(np.float32)
    image = judge("s", "s_L", truth, p >= 0.5, p)
    assert choose_point([image], "mean_dice", "x", ["tumor"]).threshold == 0.501  # of 0.201 to 0.8


def test_at_most_so_many_false_positives() -> None:
    truth = np.zeros((40, 40), bool)
    truth[5:10, 5:10] = True
    p = np.zeros((40, 40), np.float32)
    p[5:10, 5:10], p[20:23, 20:23], p[30:33, 30:33] = 0.4, 0.6, 0.3
    image = judge("s", "s_L", truth, p >= 0.5, p)
    points = {rule: choose_point([image], rule, "x", ["tumor"]) for rule in ("fp<=0", "fp<=1", "fp<= 2")}
    kept = [point.min_lesion_score for point in points.values()]
    assert kept == pytest.approx([1.0, 0.4, 0.3])
    assert {p.threshold for p in points.values()} == {choose_point([image], "dice", "x", ["tumor"]).threshold}


@pytest.mark.parametrize("rule", ["iou", "fp<=", "fp<=-1", "fp<1"])
def test_unknown_rules(rule: str) -> None:
    with pytest.raises(UserError, match=r"--threshold_rule .*: unknown rule; choose from dice, mean_dice, fp<=N"):
        rule_rate(rule)


def test_without_a_lesion_nothing_is_chosen() -> None:
    with pytest.raises(UserError, match="no lesion in the images of x: no threshold can be chosen on them"):
        choose_point([an_image(0, 1, lesion=False)], "dice", "x", ["tumor"])


def permuted(image: ImageLesions, seed: int) -> ImageLesions:
    """With other labels: as if other pixels of it were the lesion."""
    rng = np.random.default_rng(seed)
    return judge(image.subject, image.case, rng.random((30, 30)) < 0.2, np.zeros((30, 30), bool), rng.random((30, 30)))


@pytest.mark.parametrize("rule", ["dice", "mean_dice", "fp<=1"])
def test_the_labels_of_the_scored_fold_do_not_move_its_own_threshold(rule: str) -> None:
    folds = [[an_image(n, seed, fog=0.1 * seed) for n in range(3)] for seed in range(4)]
    before = out_of_fold_points(folds, rule, ["tumor"])
    for number in range(len(folds)):
        changed = [[permuted(image, 7) for image in fold] if n == number else fold for n, fold in enumerate(folds)]
        after = out_of_fold_points(changed, rule, ["tumor"])
        assert after[number] == before[number]
        assert any(after[n] != before[n] for n in range(len(folds)) if n != number)
    with pytest.raises(UserError, match="needs two folds or more"):
        out_of_fold_points(folds[:1], rule, ["tumor"])


# -- deciding ----------------------------------------------------------------------------------------------------------

LABELS = {"0": "background", "1": "gland", "2": "mass", "3": "distortion"}


def test_a_decision_by_hand() -> None:
    p = torch.tensor([[0.6, 0.1, 0.2, 0.1], [0.5, 0.2, 0.1, 0.2], [0.1, 0.5, 0.1, 0.3], [0.3, 0.45, 0.15, 0.1]])
    logits = p.T.log().reshape(4, 1, 4)
    assert Decision((2, 3), 0.29)(logits).tolist() == [[[2, 3, 3, 1]]]
    assert Decision((2, 3), 0.5)(logits).tolist() == [[[0, 0, 1, 1]]]
    assert Decision((2, 3), 0.3)(logits).dtype == torch.uint8


def test_every_way_to_a_mask_follows_it() -> None:
    torch.manual_seed(0)
    network, image = FCN(4, width=0.02).eval(), torch.rand(1, 3, 70, 50) - 0.5
    logits = WholeImageInferer()(image, network).detach()
    probability = torch.softmax(logits[0], 0)[2:].sum(0)
    decision = Decision((2, 3), float(probability.median()))
    expected = decision(logits[0])
    assert 0.3 < torch.isin(expected, torch.tensor([2, 3])).float().mean() < 0.7
    argmax = ArgmaxLiked("pred", size_key="size", decision=decision)
    assert torch.equal(argmax({"pred": logits[0], "size": (70, 50)})["pred"], expected)
    for inferer in (WholeImageInferer(labels=True, decision=decision), WholeImageInferer(10, None, True, decision)):
        assert (inferer(image, network)[0] != expected).float().mean() < 0.01  # a pixel at the median, by rounding
    tiled = TiledInferer(labels=True, decision=decision)(image, network)
    assert (tiled[0] != expected).float().mean() < 0.01
    large = upsampled_argmax(logits[0], (133, 91), decision=decision)
    found = upsampled_probability(logits[0], (2, 3), (133, 91)) >= decision.threshold
    assert torch.equal(torch.isin(large[0], torch.tensor([2, 3])), found)


def test_the_stored_point_and_what_overrides_it() -> None:
    point = {"threshold": 0.2, "min_lesion_score": 0.4, "lesion_classes": ["mass"]}
    stored = {"labels": LABELS, "operating_point": point}
    assert decision_of(stored) == Decision((2,), 0.2)
    assert decision_of(stored, 0.7) == Decision((2,), 0.7)
    assert decision_of(stored, "none") is None
    assert decision_of({"labels": LABELS}) is None
    assert decision_of({"labels": LABELS, "operating_point": None}, 0.5) == Decision((2, 3), 0.5)
    assert decision_of(stored, lesions=()) is None
    assert (min_score_of(stored), min_score_of(stored, 0.1), min_score_of({"labels": LABELS})) == (0.4, 0.1, None)
    assert (min_score_of(stored, None, 0.7), min_score_of(stored, None, "none")) == (None, None)
    assert min_score_of({"operating_point": {"threshold": 0.2}}) == 0.2
    given = {"min_lesion_score": 0.3}  # by an option of the training
    assert (min_score_of(given), min_score_of(given, None, "none"), min_score_of(given, None, 0.7)) == (0.3, 0.3, None)


@pytest.mark.parametrize(
    ("labels", "threshold", "message"),
    [
        (LABELS, 0, "--threshold 0: expected a probability above 0 and at most 1, or none"),
        (LABELS, 1.2, "--threshold 1.2: expected"),
        (LABELS, "high", "--threshold high: expected"),
        ({"0": "background", "1": "gland"}, 0.5, "none of the classes is a lesion beside others"),
        ({"0": "mass", "1": "tumor"}, 0.5, "none of the classes is a lesion beside others"),
    ],
)
def test_wrong_thresholds(labels: dict[str, str], threshold: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        decision_of({"labels": labels}, threshold)
    with pytest.raises(UserError, match="--min_lesion_score 2: expected a probability"):
        min_score_of({}, 2)


@pytest.mark.parametrize("point", ["x", [1], 5])
def test_a_stored_point_that_is_no_object(point: Any) -> None:
    settings = {"labels": LABELS, "operating_point": point}
    for asked in (decision_of, min_score_of):
        with pytest.raises(UserError, match="expected an object with threshold and min_lesion_score"):
            asked(settings)


# -- who is held out ---------------------------------------------------------------------------------------------------


def test_a_share_of_the_training_subjects_is_held_out(tiny_dataset: Path) -> None:
    data = Dataset.load(tiny_dataset)
    trained, held_out = (list(f(data, "training", 0.5, 3)) for f in (training_items, held_out_items))
    assert len(trained) == len(held_out) == 2
    names = [{item["subject"] for item in items} for items in (trained, held_out)]
    assert names[0] | names[1] == {"s000", "s001", "s002", "s003"}
    assert list(held_out_items(data, "training", 0.5, 3)) == held_out
    assert {frozenset(held_out_subjects(data, "training", 0.5, seed)) for seed in range(9)} != {frozenset(names[1])}
    assert len(held_out_items(data, "training", None, 0)) == 1  # a fifth of four, rounded up
    for source in (None, "validation"):
        assert not held_out_items(data, source, None, 0)
        assert len(training_items(data, source, None, 0)) == 4


def without_tumor(folder: Path, *subjects: str) -> Dataset:
    """The data set, in which some subjects are healthy."""
    for subject in subjects:
        path = folder / "labels" / f"{subject}_L_CC.npy"
        label = np.load(path)
        np.save(path, np.where(label == 2, 1, label))
    return Dataset.load(folder)


def test_subjects_with_a_lesion_are_held_out_in_their_share(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "data", subjects=12)  # ten of them in training
    diseased = {"s003", "s007"}
    data = without_tumor(folder, *(f"s{n:03d}" for n in range(10) if f"s{n:03d}" not in diseased))
    for seed in range(9):
        held_out = held_out_subjects(data, "training", 0.2, seed)
        assert len(held_out) == 2
        assert len(held_out & diseased) == 1  # neither none nor all
    assert len(held_out_subjects(data, "training", 0.7, 0) & diseased) == 1
    assert held_out_subjects(data, "training", 0.2, 0, "gland") <= {f"s{n:03d}" for n in range(10)}


def test_too_few_subjects_with_a_lesion_are_told_before_anything_is_trained(tiny_dataset: Path) -> None:
    data = without_tumor(tiny_dataset, "s000", "s001", "s002")
    with pytest.raises(UserError, match=r"1 training subjects of tiny have a lesion \(tumor\), and 2 or more"):
        training_items(data, "training", None, 0)
    data = without_tumor(tiny_dataset, "s004", "s005")
    with pytest.raises(UserError, match="from validation: 0 validation subjects of tiny have a lesion"):
        training_items(data, "validation", None, 0)
    assert len(training_items(data, None, None, 0)) == 4
    assert len(held_out_items(data, "training", None, 0, "none")) == 1  # no class is a lesion: said elsewhere


@pytest.mark.parametrize(
    ("source", "share", "message"),
    [
        ("test", None, "--threshold_from test: unknown source; choose from training, validation"),
        ("training", 0, "--threshold_share 0: expected a share of the training subjects between 0 and 1"),
        ("training", "half", "--threshold_share half: expected a share"),
        ("training", 0.9, "--threshold_share 0.9: holds out all 4 training subjects"),
    ],
)
def test_wrong_shares(tiny_dataset: Path, source: Any, share: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        held_out_subjects(Dataset.load(tiny_dataset), source, share, 0)
