"""Settings of a stage, and its learning-rate schedule."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engines.training.lr_schedule import check_schedule, rate_of_epoch
from engines.training.plan import FineTuning, Stage, at_stage, check_keep, digest_in, plan, stages_of
from nets import FCN
from transforms.errors import UserError

STAGE = Stage("front", 20, 128, 0.1)


def test_one_number_for_all_stages_or_one_for_each() -> None:
    assert plan(["a", "b"], 3, {"a": 64, "b": [48, 32]}, {"a": 0.1, "b": 1}) == [
        Stage("a", 3, 64, 0.1),
        Stage("b", 3, (48, 32), 1.0),
    ]
    assert plan(["a"], 3, [48, 32], 0.1)[0].crop_size == (48, 32)


def test_crops_are_those_of_each_epoch_or_recur_in_the_stages_that_say_so() -> None:
    new, again = plan(["a", "b"], 5, 16, 0.1, crop_draws={"b": 2})
    assert [new.draw_of(epoch) for epoch in range(1, 6)] == [1, 2, 3, 4, 5]
    assert [again.draw_of(epoch) for epoch in range(1, 6)] == [1, 2, 1, 2, 1]
    assert "crop_draws" not in new.parameters()
    assert again.parameters()["crop_draws"] == 2
    assert str(again) == "b: up to 5 epochs, crops of 16, learning rate 0.1, drawn 2 times"


@pytest.mark.parametrize("draws", [-1, 1.5, True, "2", {"a": None}], ids=str)
def test_draws_that_cannot_be(draws: Any) -> None:
    with pytest.raises(UserError, match="crop_draws of stage 'a' must be a whole number of at least 0"):
        plan(["a"], 3, 16, 0.1, crop_draws=draws)


def test_draws_of_a_mistyped_stage_are_rejected() -> None:
    with pytest.raises(UserError, match="--crop_draws: unknown stage 'contxt'; choose from front, context"):
        plan(["front", "context"], 3, 16, 0.1, crop_draws={"contxt": 2})


@pytest.mark.parametrize(
    ("crop_size", "words"),
    [([48], "crop_size"), ([48, 0], "above 0"), ("64", "crop_size"), ({"b": 64}, "got None"), ([1, 2, 3], "crop_size")],
)
def test_crop_sizes_that_cannot_be(crop_size: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        plan(["a"], 3, crop_size, 0.1)


LAST = {"epochs": 2, "crop_size": [48, 32], "learning_rate": 0.04}


def test_fine_tuning_takes_the_last_epochs_with_a_size_and_a_rate_of_its_own() -> None:
    (stage,) = plan(["a"], 6, 16, 0.1, LAST)
    assert stage.fine_tuning == FineTuning(2, (48, 32), 0.04)
    assert [stage.crop_size_at(epoch) for epoch in range(1, 7)] == [16] * 4 + [(48, 32)] * 2
    rates = [rate_of_epoch(stage, epoch, "cosine", 0.3, 10) for epoch in range(1, 7)]
    half = math.sqrt(0.5)
    assert rates == pytest.approx([0.1, 0.05 * (1 + half), 0.05, 0.05 * (1 - half), 0.04, 0.02])
    piecewise = [rate_of_epoch(stage, epoch, "piecewise", 0.5, 1) for epoch in range(1, 7)]
    assert piecewise == pytest.approx([0.1, 0.05, 0.025, 0.0125, 0.04, 0.02])
    assert str(stage) == (
        "a: up to 6 epochs, crops of 16, learning rate 0.1; fine-tuning in the last 2: crops of (48, 32), "
        "learning rate 0.04"
    )


@pytest.mark.parametrize(("epochs", "sizes"), [(1, [16]), (2, [16, (48, 32)]), (3, [16, (48, 32), (48, 32)])])
def test_the_first_epoch_of_a_short_training_is_no_fine_tuning(epochs: int, sizes: list[Any]) -> None:
    (stage,) = plan(["a"], epochs, 16, 0.1, LAST)
    assert [stage.crop_size_at(epoch) for epoch in range(1, epochs + 1)] == sizes
    assert ("fine-tuning" in str(stage)) == (epochs > 1)


def test_without_fine_tuning_nothing_of_it_is_on_record() -> None:
    (stage,) = plan(["a"], 6, 16, 0.1)
    assert stage.parameters() == {"name": "a", "max_epochs": 6, "crop_size": 16, "learning_rate": 0.1}


@pytest.mark.parametrize(
    "given",
    [3, {"epochs": 2}, {**LAST, "epochs": 0}, {**LAST, "crop_size": [1, 2, 3]}, {**LAST, "rate": 1}, "2"],
    ids=repr,
)
def test_fine_tunings_that_cannot_be(given: Any) -> None:
    with pytest.raises(UserError, match=r"fine_tuning|crop_size"):
        plan(["a"], 6, 16, 0.1, given)


@pytest.mark.parametrize(
    ("epochs", "size", "rate"),
    [(0.5, 16, 0.1), (1.5, 16, 0.1), (math.nan, 16, 0.1), (6, 40.7, 0.1), (6, [16, 0.5], 0.1), (6, 16, math.inf)],
)
def test_numbers_that_would_be_rounded_are_refused(epochs: Any, size: Any, rate: Any) -> None:
    with pytest.raises(UserError, match=r"of stage 'a' must be a (whole )?number above 0, got"):
        plan(["a"], epochs, size, rate)
    assert plan(["a"], 6.0, 16.0, 1)[0].max_epochs == 6


def test_a_network_that_knows_no_stages_is_the_case_of_one() -> None:
    class UNet(nn.Module):
        pass

    assert stages_of(UNet()) == ("unet",)
    assert stages_of(FCN(2, width=0.02)) == ("fcn32", "fcn16", "fcn8")
    at_stage(UNet(), ["unet"])
    with pytest.raises(UserError, match="unknown stage 'front': UNet has the stages unet"):
        at_stage(UNet(), ["front"])


def test_the_digest_in_a_published_name_is_checked(tmp_path: Path) -> None:
    assert digest_in("vgg16-397923af.pth") == "397923af"
    assert digest_in("front.pt") is None
    assert digest_in("front-20240115.pt") is None  # a date
    assert digest_in("my-weights.pth") is None
    network = FCN(2, width=0.02)
    torch.save(network.state_dict(), tmp_path / "fcn-00000000.pth")
    with pytest.raises(UserError, match=r"--init_weights: .*expected 00000000"):
        at_stage(network, ["fcn32"], str(tmp_path / "fcn-00000000.pth"))


def test_piecewise_as_in_table_8() -> None:
    rates = [rate_of_epoch(STAGE, epoch, "piecewise", 0.3, 10) for epoch in (1, 10, 11, 20, 21)]
    assert rates == pytest.approx([0.1, 0.1, 0.03, 0.03, 0.009])


def test_cosine_by_hand() -> None:
    rates = [rate_of_epoch(STAGE, epoch, "cosine", 0.3, 10) for epoch in (1, 6, 11, 16)]
    half = math.sqrt(0.5)
    assert rates == pytest.approx([0.1, 0.05 * (1 + half), 0.05, 0.05 * (1 - half)])


@given(epochs=st.integers(1, 200), rate=st.floats(1e-6, 1.0))
def test_cosine_starts_full_and_only_falls(epochs: int, rate: float) -> None:
    stage = Stage("a", epochs, 1, rate)
    rates = [rate_of_epoch(stage, epoch, "cosine", 0.3, 10) for epoch in range(1, epochs + 1)]
    assert rates[0] == rate
    assert all(0 < later < earlier for earlier, later in itertools.pairwise(rates))


def test_schedules_have_names() -> None:
    check_schedule("cosine")
    with pytest.raises(UserError, match="--lr_schedule step: unknown; choose from piecewise, cosine"):
        check_schedule("step")


def test_which_epoch_a_stage_ends_with() -> None:
    check_keep("best", 4)
    check_keep("last", 0)
    with pytest.raises(UserError, match="--keep first: unknown; choose from best, last"):
        check_keep("first", 0)
    with pytest.raises(UserError, match=r"--keep last .* early stopping .* --patience 0, not 4"):
        check_keep("last", 4)
