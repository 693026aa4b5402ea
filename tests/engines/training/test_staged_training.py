"""Sequence of stages: starting weights, validation and resuming."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from mlflow.tracking import MlflowClient
from training_factory import Pixelwise, staged_training

from engines.records.panels import PanelSaver
from engines.records.tables import read_csv
from transforms.errors import UserError


def weights(out: Path, stage: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(out / "models" / f"{stage}.pt", weights_only=True)
    return found


def test_a_stage_trains_its_own_weights_and_starts_from_those_of_the_one_before(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    training = staged_training(tiny_dataset, tmp_path / "out")
    assert training.prepare() == (None, None)
    results = training.run()
    assert list(results) == ["offsets", "slopes"]
    assert results["slopes"]["mean_iou"] >= results["offsets"]["mean_iou"]
    first, second = (weights(tmp_path / "out", stage) for stage in results)
    assert not first["scores.weight"].any()  # not of this stage
    assert first["scores.bias"].any()
    assert second["scores.weight"].any()
    rows = read_csv(tmp_path / "out" / "eval" / "epochs.csv")
    assert [(row["stage"], row["epoch"]) for row in rows] == [(s, str(e)) for s in results for e in (1, 2)]


def test_the_best_epoch_of_a_ruined_stage_is_its_start(tiny_dataset: Path, tmp_path: Path) -> None:
    training = staged_training(tiny_dataset, tmp_path / "out", epochs=1, rates=(1.0, 1e-9), min_delta=0.0)
    training.prepare()
    training.run()
    first, second = (weights(tmp_path / "out", stage) for stage in Pixelwise.stages)
    assert torch.equal(first["scores.bias"], second["scores.bias"])
    assert training.best["epoch"] == 0


@pytest.mark.parametrize(("keep", "starts"), [("best", 1), ("last", 0)])
def test_each_weights_are_validated_once_and_the_last_once_more_for_their_pictures(
    tiny_dataset: Path, tmp_path: Path, keep: str, starts: int
) -> None:
    """Two epochs per stage; with the best epoch kept, the start of the second stage counts as its epoch 0."""
    training = staged_training(tiny_dataset, tmp_path / "out", keep=keep)
    training.prepare()
    training.run()
    assert training.evaluator.runs == 4 + starts
    shown = staged_training(tiny_dataset, tmp_path / "shown", keep=keep)
    shown.pictures = [PanelSaver(tmp_path / "shown" / "panels", ["a", "b", "c"])]
    shown.prepare()
    shown.run()
    assert shown.evaluator.runs == 5 + starts
    assert sorted(path.name for path in (tmp_path / "shown" / "panels").iterdir()) == ["s004.png", "s005.png"]
    assert str(shown.results) == str(training.results)  # NaN, a precision of nothing, is not equal to itself


def test_a_resumed_training_ends_with_the_same_weights(tiny_dataset: Path, tmp_path: Path) -> None:
    for name, resumed in (("whole", [False]), ("parts", [False, True])):
        for number, resume in enumerate(resumed):
            training = staged_training(tiny_dataset, tmp_path / name, epochs=1)
            if number == len(resumed) - 1:
                training.plan[1] = replace(training.plan[1], max_epochs=2)
            assert training.prepare(resume) == ((None, {}) if resume else (None, None))
            assert training.stage.name == ("slopes" if resume else "offsets")
            training.run()
    whole, parts = (weights(tmp_path / name, "slopes") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_scale_of_the_loss_is_that_of_the_first_batch_also_when_resumed(tiny_dataset: Path, tmp_path: Path) -> None:
    for epochs in (1, 2):
        training = staged_training(tiny_dataset, tmp_path / "out", epochs=epochs)
        training.prepare(resume=epochs == 2)
        training.run()
        if epochs == 1:
            first = training.losses.first
            assert first == pytest.approx(1.0986, abs=1e-3)  # log 3: the network starts from zeros
    assert training.losses.first == first
    assert torch.load(tmp_path / "out" / "models" / "progress.pt", weights_only=True)["first_loss"] == first


def test_a_finished_training_whose_store_is_lost_is_put_back_once(
    tiny_dataset: Path, tmp_path: Path, store: Path, empty_store: Path
) -> None:
    def train(resume: bool) -> list[str]:
        training = staged_training(tiny_dataset, tmp_path / "out", epochs=1, store=store)
        training.tracking.start(*training.prepare(resume))
        training.run()
        training.tracking.end("FINISHED")
        client = MlflowClient(f"sqlite:///{store}")
        (experiment,) = (e for e in client.search_experiments() if e.name == "e")
        return sorted(run.info.run_id for run in client.search_runs([experiment.experiment_id]))

    first = train(resume=False)
    assert train(resume=True) == first
    store = Path(shutil.copy(empty_store, tmp_path / "new.db"))
    put_back = train(resume=True)
    assert len(put_back) == 2  # the training, and its last stage
    assert not {*put_back} & {*first}
    assert train(resume=True) == put_back
    store = tmp_path / "no folder" / "cannot.db"
    store.parent.write_text("a file")
    saved = torch.load(tmp_path / "out" / "models" / "progress.pt", weights_only=True)
    training = staged_training(tiny_dataset, tmp_path / "out", epochs=1, store=store)
    training.tracking.start(*training.prepare(resume=True))
    training.run()
    again = torch.load(tmp_path / "out" / "models" / "progress.pt", weights_only=True)
    assert (again["run_id"], again["stage_runs"]) == (saved["run_id"], saved["stage_runs"])


def test_batches_recur_after_as_many_epochs_as_crops_are_drawn_for(tiny_dataset: Path, tmp_path: Path) -> None:
    epochs: dict[int, list[list[torch.Tensor]]] = {}
    for draws in (0, 2):
        training = staged_training(tiny_dataset, tmp_path / str(draws), epochs=3)
        training.plan = [replace(training.plan[0], crop_draws=draws)]
        batches: list[torch.Tensor] = []
        training.trainer.add_event_handler(
            Events.ITERATION_STARTED, lambda engine, seen=batches: seen.append(engine.state.batch["image"])
        )
        training.prepare()
        training.run()
        length = len(batches) // 3
        epochs[draws] = [batches[length * epoch : length * (epoch + 1)] for epoch in range(3)]
    new, again = epochs[0], epochs[2]
    assert all(map(torch.equal, again[0] + again[1] + again[2], new[0] + new[1] + new[0]))
    assert not all(map(torch.equal, new[2], new[0]))


def test_nothing_to_resume_and_another_training(tiny_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training to resume here"):
        staged_training(tiny_dataset, tmp_path / "out").prepare(resume=True)
    training = staged_training(tiny_dataset, tmp_path / "out")
    training.prepare()
    other = staged_training(tiny_dataset, tmp_path / "out")
    other.settings["licence"] = "may differ"
    other.settings["colour"] = True
    with pytest.raises(UserError, match=r"had other settings \(colour: False → True\)"):
        other.prepare(resume=True)
