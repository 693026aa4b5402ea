"""Trainings resumed with another number of epochs: whether an uninterrupted one would have had the same epochs."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from engines.training.plan import FineTuning, Stage
from engines.training.planned_epochs import PlannedEpochs

FOUR = Stage("a", 4, 16, 0.1)
EIGHT = replace(FOUR, max_epochs=8)
PIECEWISE, COSINE = ("piecewise", 0.3, 10), ("cosine", 0.3, 10)


def resumed(
    schedule: tuple[str, float, int], plan: list[Stage], current: int = 0, **epochs: list[int]
) -> PlannedEpochs:
    """A training with these finished epochs per stage, resumed with a plan."""
    planned = PlannedEpochs(schedule)
    planned.restore({"planned": epochs}, plan, current)
    return planned


def test_a_cosine_over_more_epochs_has_other_rates(caplog: pytest.LogCaptureFixture) -> None:
    planned = resumed(COSINE, [EIGHT], a=[4, 4, 4, 4])
    (line,) = caplog.messages
    assert line.startswith("Stage a: 4 epochs were trained with max_epochs 4, and 8 changes their learning rates")
    assert line.endswith("differs from that of an uninterrupted training with max_epochs 8.")
    assert planned.record([EIGHT], EIGHT) == {"max_epochs_before": {"a": [4]}}


@pytest.mark.parametrize(
    ("schedule", "stage", "epochs", "differs"),
    [
        (COSINE, EIGHT, [8] * 3, False),
        (COSINE, EIGHT, [4], False),  # the first rate is that of any length
        (COSINE, EIGHT, [4, 4, 8], True),  # resumed a second time
        (PIECEWISE, EIGHT, [4] * 4, False),
        (PIECEWISE, FOUR, [8] * 4, False),
        (PIECEWISE, FOUR, [8] * 5, True),  # more than an uninterrupted training would have
        (PIECEWISE, replace(EIGHT, fine_tuning=FineTuning(1, 16, 0.01)), [4] * 4, True),
        (PIECEWISE, replace(EIGHT, fine_tuning=FineTuning(1, 32, 0.1)), [4] * 4, True),  # by its crops
        (PIECEWISE, replace(EIGHT, fine_tuning=FineTuning(1, 16, 0.01)), [4] * 3, False),  # before fine-tuning
        (COSINE, replace(FOUR, max_epochs=1, fine_tuning=FineTuning(1, 16, 0.01)), [4] * 3, True),
    ],
)
def test_what_differs(
    caplog: pytest.LogCaptureFixture,
    schedule: tuple[str, float, int],
    stage: Stage,
    epochs: list[int],
    differs: bool,
) -> None:
    planned = resumed(schedule, [stage], a=epochs)
    assert bool(caplog.messages) == differs
    assert bool(planned.record([stage], stage)) == differs


@pytest.mark.parametrize(("epochs", "differs"), [([4] * 4, True), ([4] * 3, False)], ids=["ended", "stopped early"])
def test_an_ended_stage_gets_no_further_epochs(
    caplog: pytest.LogCaptureFixture, epochs: list[int], differs: bool
) -> None:
    later = replace(EIGHT, name="b")
    planned = resumed(PIECEWISE, [EIGHT, later], 1, a=epochs, b=[4])
    assert [line.split(":")[0] for line in caplog.messages] == (["Stage a"] if differs else [])
    assert planned.record([EIGHT, later], later) == ({"max_epochs_before": {"a": [4]}} if differs else {})


@pytest.mark.parametrize("given", [4, {"a": 4, "b": 2}], ids=str)
def test_a_checkpoint_of_an_earlier_version_has_the_number_in_its_settings(
    caplog: pytest.LogCaptureFixture, given: Any
) -> None:
    planned = PlannedEpochs(COSINE)
    planned.restore({"stage": "a", "epoch": 3, "settings": {"max_epochs": given}}, [EIGHT], 0)
    assert planned.state() == {"planned": {"a": [4, 4, 4]}}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    planned.add(EIGHT)
    assert planned.epochs == {"a": [4, 4, 4, 8]}


def test_more_epochs_than_planned_cannot_be() -> None:
    with pytest.raises(ValueError, match="its epochs are more than were planned"):
        resumed(COSINE, [EIGHT], a=[4, 4, 2])
