"""Batches of a stage with frozen layers, from files and without: the same to the last bit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from dataset_factory import make_dataset
from ignite.engine import Events
from torch import Tensor, nn
from training_factory import staged_training

from engines import PaddedInferer
from engines.records.tables import read_csv
from engines.training import frozen_batches
from engines.training.epoch_loader import EpochLoader
from engines.training.epochs import EpochSampler
from engines.training.staged_training import StagedTraining
from nets import Dilation10
from transforms.errors import UserError

SIDE = 16


class TwoParts(nn.Module):
    """A layer at half the size of the image, frozen in the second stage, and one after it; halves even sizes only."""

    stages = ("first", "second")
    frozen_stages: ClassVar[frozenset[str]] = frozenset({"second"})
    strides = (2,)
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        self.below = nn.Conv2d(3, 4, 2, stride=2)
        self.above = nn.Conv2d(4, 3, 1)

    def set_stage(self, stage: str) -> None:
        self.stage = stage
        self.below.requires_grad_(stage == "first")

    def forward(self, x: Tensor) -> Tensor:
        return self.after_frozen(self.frozen_output(x), x)

    def frozen_output(self, x: Tensor) -> Tensor:
        self.runs += self.training
        y: Tensor = self.below(x).tanh()
        return y

    def after_frozen(self, maps: Tensor, like: Tensor) -> Tensor:
        y: Tensor = self.above(nn.functional.dropout(maps, 0.5, self.training))
        return nn.functional.interpolate(y, like.shape[-2:])


@pytest.fixture(autouse=True)
def _network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training_factory.Pixelwise", TwoParts)


def training(data: Path, out: Path, cache: bool, epochs: int = 3, draws: int = 2, **more: Any) -> StagedTraining:
    """Stage `first` for one epoch, then `second`."""
    made = staged_training(data, out, 1, (0.1, 0.05), cache_frozen=cache, **more)
    made.plan[1] = replace(made.plan[1], max_epochs=epochs, crop_draws=draws)
    return made


def run(made: StagedTraining, resume: bool = False) -> StagedTraining:
    made.prepare(resume)
    made.run()
    return made


def result(out: Path) -> tuple[dict[str, Tensor], list[dict[str, str]]]:
    weights: dict[str, Tensor] = torch.load(out / "models" / "second.pt", weights_only=True)
    return weights, read_csv(out / "eval" / "epochs.csv")


def check_same(one: Path, other: Path) -> None:
    (weights, epochs), (others, other_epochs) = result(one), result(other)
    assert epochs == other_epochs
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def files(out: Path) -> list[Path]:
    return sorted((out / "models" / "frozen").glob("*/*"))


@pytest.fixture(scope="module")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def uncached(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Output of the training without the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training_factory.Pixelwise", TwoParts)
        yield run(training(tiny_dataset, tmp_path_factory.mktemp("uncached"), cache=False)).output.folder


@pytest.mark.parametrize("checkpointing", [False, True])
def test_weights_and_scores_are_those_without_the_cache(
    tiny_dataset: Path, tmp_path: Path, uncached: Path, checkpointing: bool
) -> None:
    inferer = PaddedInferer(checkpointing=checkpointing)
    made = run(training(tiny_dataset, tmp_path / "out", cache=True, inferer=inferer))
    check_same(uncached, tmp_path / "out")
    batches = len(made.trainer.data_loader)
    assert made.network.runs == batches * (1 + 2)  # one epoch of `first`, two draws of `second`
    assert not (tmp_path / "out" / "models" / "frozen").exists()
    assert made.trainer.inferer is inferer


def read_by(made: StagedTraining, workers: int) -> list[Any]:
    """Have a training read batches of two crops with a number of processes; return the batches."""
    trainer, seen = made.trainer, []
    trainer.data_loader = EpochLoader(
        made.dataset,
        sampler=EpochSampler(made.dataset, num_replicas=1, rank=0),
        batch_size=2,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    trainer.state.epoch_length = len(trainer.data_loader)

    def look() -> None:
        loader: Any = trainer.data_loader
        iterator = getattr(loader, "batches", loader)._iterator
        seen.extend(process for process in getattr(iterator, "_workers", ()) if process not in seen)

    trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
    return seen


@pytest.mark.parametrize("fails", [False, True])
def test_processes_that_read_stay_over_epochs_and_end_with_the_stage(
    tiny_dataset: Path, tmp_path: Path, fails: bool
) -> None:
    plain, made = (training(tiny_dataset, tmp_path / name, cache=True) for name in ("plain", "processes"))
    read_by(plain, 0)
    processes = read_by(made, 2)
    if fails:
        stop_at(made, "second", epoch=3, iteration=6)
    with pytest.raises(KeyboardInterrupt) if fails else nullcontext():
        run(made)
    assert len(processes) == 2 + 2  # of the first stage, and of the second
    assert not any(process.is_alive() for process in processes)
    if not fails:
        check_same(run(plain).output.folder, made.output.folder)
        assert made.network.runs == plain.network.runs == 2 * (1 + 2)


def stop_at(made: StagedTraining, stage: str, epoch: int, iteration: int) -> None:
    def stop() -> None:
        state = made.trainer.state
        if (made.stage.name, state.epoch, state.iteration) == (stage, epoch, iteration):
            raise KeyboardInterrupt

    made.trainer.add_event_handler(Events.ITERATION_COMPLETED, stop)


def interrupted(data: Path, out: Path, epoch: int, iteration: int) -> None:
    made = training(data, out, cache=True)
    stop_at(made, "second", epoch, iteration)
    with pytest.raises(KeyboardInterrupt):
        run(made)


@pytest.mark.parametrize("cache", [True, False])
def test_a_resumed_training_reads_what_was_kept(
    tiny_dataset: Path, tmp_path: Path, uncached: Path, cache: bool
) -> None:
    interrupted(tiny_dataset, tmp_path / "out", epoch=2, iteration=2)
    assert len(files(tmp_path / "out")) == 2  # one batch an epoch
    made = run(training(tiny_dataset, tmp_path / "out", cache=cache), resume=True)
    assert made.network.runs == (0 if cache else 2)
    check_same(uncached, tmp_path / "out")


def test_damaged_files_are_computed_again(
    tiny_dataset: Path, tmp_path: Path, uncached: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(tiny_dataset, tmp_path / "out", epoch=2, iteration=2)
    one, other = files(tmp_path / "out")
    content = bytearray(one.read_bytes())
    content[len(content) // 2] ^= 1
    one.write_bytes(content)
    other.write_bytes(other.read_bytes()[:100])
    made = run(training(tiny_dataset, tmp_path / "out", cache=True), resume=True)
    assert made.network.runs == 2
    assert {f"{path.name}: damaged; computed again" for path in (one, other)} <= set(caplog.messages)
    check_same(uncached, tmp_path / "out")


def test_files_of_other_weights_are_not_read(tiny_dataset: Path, tmp_path: Path) -> None:
    keys = []
    for change in (None, "below", "above", "settings", "crops"):
        made = training(tiny_dataset, tmp_path / "out", cache=True)
        made.prepare()
        made._begin(1)
        with torch.no_grad():
            if change == "below":
                made.network.below.bias[0] += 1e-6
            if change == "above":  # trained
                made.network.above.bias[0] += 1
        if change == "settings":
            made.settings["image_height"] = 100
        if change == "crops":
            made.dataset.seed = 1
        with made.frozen.of_stage(1, made.stage, made.network, made.settings):
            keys.append(made.trainer.data_loader.files.folder.name)
    assert keys[0] == keys[2]
    assert len(set(keys)) == 4


def test_what_cannot_be_written_is_computed_in_every_epoch(
    tiny_dataset: Path,
    tmp_path: Path,
    uncached: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(content: Any, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(frozen_batches, "save_checkpoint", full)
    made = run(training(tiny_dataset, tmp_path / "out", cache=True))
    assert made.network.runs == 1 + 3
    assert sum("No space left on device" in message for message in caplog.messages) == 1
    check_same(uncached, tmp_path / "out")


def test_the_size_is_told_and_must_be_there(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Four crops twice, of 16 x 16 labels of a byte and 4 maps of 8 x 8 numbers of four: 10,240 bytes."""
    caplog.set_level("INFO", "mammoseg")
    training(tiny_dataset, tmp_path / "out", cache=True).prepare()
    folder = tmp_path / "out" / "models" / "frozen"
    assert (
        f"The output of frozen layers is cached in {folder}: up to 0.0 MB for 2 x 4 crops of stage second."
        in caplog.text
    )
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_239))
    with pytest.raises(UserError, match=r"needs 0.0 MB for 2 x 4 crops of stage second, and .* has 0.0 MB left"):
        training(tiny_dataset, tmp_path / "out", cache=True).prepare()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_240))
    training(tiny_dataset, tmp_path / "out", cache=True).prepare()


@pytest.mark.parametrize("draws", [0, 3])
def test_crops_that_do_not_recur(tiny_dataset: Path, tmp_path: Path, draws: int) -> None:
    with pytest.raises(
        UserError, match=f"crops of stage second do not recur: it has 3 epochs and --crop_draws {draws}"
    ):
        training(tiny_dataset, tmp_path, cache=True, draws=draws).prepare()


def test_what_does_not_go_with_it(tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="does not go with --compile true"):
        training(tiny_dataset, tmp_path, cache=True, inferer=PaddedInferer(compiled=True)).prepare()
    made = training(tiny_dataset, tmp_path, cache=True)
    made.plan = made.plan[:1]
    with pytest.raises(UserError, match="no layers are frozen in first, so nothing can be cached"):
        made.prepare()
    monkeypatch.setattr("engines.training.frozen_cache.world_size", lambda: 2)
    with pytest.raises(UserError, match="does not go with several processes"):
        training(tiny_dataset, tmp_path, cache=True).prepare()


def test_a_frozen_output_that_is_trained(tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TwoParts, "set_stage", lambda self, stage: None)
    with pytest.raises(UserError, match=r"TwoParts\.frozen_output depends on weights that are trained"):
        run(training(tiny_dataset, tmp_path, cache=True))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_dilation10_in_two_parts_is_the_whole(precision: str) -> None:
    network = Dilation10(3, width=0.02, stage="context").train()
    torch.nn.init.normal_(network.get_submodule("context3").weight, std=0.1)
    image = torch.rand(2, 3, SIDE + 3, SIDE)
    whole = PaddedInferer(precision)(image, network)
    split = frozen_batches.SplitNetwork(network, None)
    assert torch.equal(PaddedInferer(precision)(image, split), whole)
    again = frozen_batches.SplitNetwork(network, split.maps)
    assert torch.equal(PaddedInferer(precision)(torch.zeros_like(image), again), whole)
    assert split.maps is not None
    assert not split.maps.requires_grad
