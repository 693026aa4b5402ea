"""`python -m scripts.benchmark peers` and the columns of `loop`, at tiny sizes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import nn

from engines.inference.inferers import PaddedInferer
from engines.training.epoch_loader import ReadsAhead, end_reading
from nets.deeplabv3 import DeepLabV3
from scripts import benchmark
from scripts.measuring import gemm, peer_steps, plain_options
from scripts.measuring.watch import Watch, monai_iterations, steps


class Foreign(nn.Module):
    """Stand-in for smp's network with the parts that the benchmark uses."""

    def __init__(self, *_: Any, **options: Any) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.Dropout(0.5))
        self.decoder = nn.Module()
        self.decoder.conv, self.decoder.bn, self.decoder.relu = nn.Conv2d(32, 32, 3), nn.BatchNorm2d(32), nn.ReLU()
        self.head = nn.Conv2d(32, options["classes"], 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x))


@pytest.fixture
def smp(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    module = ModuleType("segmentation_models_pytorch")
    module.__dict__.update(DeepLabV3=Foreign, __version__="9")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    recipe = {"crop_size": (16, 24), "batch_size": 4, "micro_batch_size": 2}
    monkeypatch.setattr(peer_steps, "recipe_of", lambda bundle, name: recipe)
    monkeypatch.setattr(peer_steps, "DeepLabV3", partial(DeepLabV3, width=0.0625))
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("smp")
@pytest.mark.parametrize("main", [benchmark.main, plain_options.main])
def test_steps_in_turns(main: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peers", "--recipes", "quick", "--repeats", "2", "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)
    assert [(step["way"], step["batch"], len(step["ratios"])) for step in steps] == [
        ("here", "2 x 16 x 24", 2),
        ("smp", "2 x 16 x 24", 2),
        ("smp, same layers", "2 x 16 x 24", 2),
    ]
    assert steps[0]["ratios"] == [1, 1]
    assert steps[1]["gflop"] == pytest.approx(6 * 2 * 16 * 24 * 32 * (27 + 5) / 1e9 - 2 * 2 * 16 * 24 * 32 * 27 / 1e9)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("evidence --at-once 0", "--at-once 0: expected at least 1"),
        ("evidence --minutes nan", "--minutes nan: expected at least 0.01"),
        ("gpu --minutes 0", "--minutes 0.0: expected at least 0.01"),
        ("peers --threads -1", "--threads -1: expected at least 1"),
    ],
)
def test_numbers_too_small_are_one_line_without_typer(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plain_options.main(words.split()) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.usefixtures("smp")
def test_sizes_that_smp_does_not_take_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = {"crop_size": 769, "batch_size": 2, "micro_batch_size": 1}
    monkeypatch.setattr(peer_steps, "recipe_of", lambda bundle, name: recipe)
    assert benchmark.main(["peers", "--recipes", "paper"]) == 2
    assert "has crops of 769 x 769; smp needs multiples of 8" in capsys.readouterr().err


@pytest.mark.usefixtures("smp")
def test_batch_norm_is_replaced() -> None:
    as_it_comes, same = peer_steps.peer("smp"), peer_steps.peer(peer_steps.SAME_LAYERS)
    assert [type(each) for each in as_it_comes.encoder] == [nn.Conv2d, nn.GroupNorm, nn.Dropout]
    assert isinstance(as_it_comes.decoder.bn, nn.GroupNorm)
    assert [type(each) for each in same.encoder] == [nn.Conv2d, nn.GroupNorm, nn.Identity]
    assert isinstance(same.decoder.conv, nn.Identity)


def test_smp_missing_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    assert benchmark.main(["peers"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: peers: cannot import segmentation_models_pytorch")
    assert said.count("\n") == 1


def test_rate_of_matrix_products() -> None:
    ticks = iter([0.0, 9.0, 10.0, 12.0, 20.0, 21.0, 30.0, 34.0])  # 9 s are not counted; then 2, 1 and 4
    assert gemm.Gemm(torch.device("cpu"), 10).rate(lambda: next(ticks)) == 2 * 10**3 / 2
    left, right = torch.rand(3, 5), torch.rand(5, 7)
    assert gemm.flops_of(lambda: left @ right) == 2 * 3 * 5 * 7


def test_even_epochs_repeat_the_batches_of_the_odd_ones_and_monais_trainer_takes_them() -> None:
    batches = [{"image": torch.full((1, 1, 4, 4), float(n)), "label": torch.zeros(1, 1, 4, 4)} for n in range(20)]
    drawn = iter(batches)

    class Loader:
        def __len__(self) -> int:
            return 3

        def __iter__(self) -> Any:
            for _ in range(3):
                yield next(drawn)

        def begin(self) -> None:
            ahead.append(trainer.state.epoch)

        def close(self) -> None:
            ahead.append(0)

    ahead: list[int] = []
    network = nn.Conv2d(1, 1, 1)
    seen: list[list[float]] = []
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=4,
        train_data_loader=Loader(),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.0),
        loss_function=nn.MSELoss(),
        inferer=PaddedInferer(),
    )
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda: seen.append([]))
    trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda engine: seen[-1].append(float(engine.state.batch["image"].mean()))
    )
    ticks = iter(range(10_000))
    watch = Watch(lambda: float(next(ticks)), peers=True)
    watch.attach(trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: trainer.data_loader.begin())
    trainer.run()
    assert isinstance(trainer.data_loader, ReadsAhead)
    end_reading(trainer)
    assert ahead == [2, 4, 0]  # no epoch that takes its batches from memory is read ahead
    assert seen == [[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]]
    assert watch.real == [1 / 3]  # of epoch 3: the clock is read at its start and after its third iteration alone
    assert watch.memory == [1 / 3, 1 / 3]
    assert watch.monai == [1 / 3, 1 / 3]  # the clock is read after the first, which is not counted, and the last
    assert watch.bare == [1.0]
    assert len(watch.gemm) == 1


@pytest.fixture
def accumulating() -> SupervisedTrainer:
    """A trainer that updates weights after every second pass."""
    network = nn.Conv2d(1, 1, 1)
    return SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[],
        epoch_length=4,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.0),
        loss_function=nn.MSELoss(),
        inferer=PaddedInferer(),
        accumulation_steps=2,
    )


def test_bare_steps_update_as_often_as_the_trainer(
    accumulating: SupervisedTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [{"image": torch.ones(1, 1, 4, 4), "label": torch.zeros(1, 1, 4, 4)}] * 4
    done: list[str] = []
    before = torch.optim.SGD.zero_grad
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: done.append("step"))
    monkeypatch.setattr(torch.optim.SGD, "zero_grad", lambda self: (done.append("zero"), before(self)))
    steps(accumulating, batches, lambda: 0.0)
    assert done == ["zero", "step", *["zero", "step"] * 2]  # one that is not counted, then two of two passes each


def test_monais_trainer_computes_in_the_precision_of_the_trainer(accumulating: SupervisedTrainer) -> None:
    kinds = []

    def look(*_: Any) -> None:
        kinds.append(torch.is_autocast_enabled("cpu"))

    accumulating.network.register_forward_hook(look)
    accumulating.inferer = PaddedInferer("bf16")
    batches = [{"image": torch.ones(1, 1, 4, 4), "label": torch.zeros(1, 1, 4, 4)}] * 2
    monai_iterations(accumulating, batches, lambda: 0.0)
    assert kinds == [True] * 3
