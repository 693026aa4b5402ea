"""The benchmark commands at small sizes: they run, and measure what they state."""

from __future__ import annotations

import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dicom_factory import ramp, write_dicom
from ignite.engine import Engine
from monai.engines import SupervisedTrainer
from training_factory import staged_training

from scripts import benchmark
from scripts.benchmarks import crops, frozen, loop, precision, step_memory, together, writing
from scripts.measuring import step_rows
from scripts.measuring.bundle_networks import network_of
from scripts.measuring.epoch_times import EpochTimes
from scripts.measuring.gpu_groups import Group
from scripts.measuring.peak_memory import peak, reset_peak
from transforms.errors import UserError


@pytest.fixture
def threads() -> None:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.filterwarnings("ignore")  # MONAI's readers and its CacheDataset
def test_crops(capsys, monkeypatch) -> None:
    monkeypatch.setattr(crops, "SHAPE", (1300, 1300))
    assert (
        benchmark.main(["crops", "--images", "1", "--crops", "10", "--crop_size", "32", "--repeats", "2", "--json"])
        == 0
    )
    rates = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert set(rates) == {"mapped", "loaded", "cached", "shared"}
    assert rates["mapped"]["crops_per_second"] > 5 * rates["loaded"]["crops_per_second"]
    assert len(rates["loaded"]["ratios"]) == 2
    assert rates["mapped"]["memory_mb"] < rates["cached"]["memory_mb"] / 20


@pytest.mark.filterwarnings("ignore")
def test_all_ways_crop_the_same_classes(tmp_path, monkeypatch) -> None:
    """The stock chain draws its centers by the same rule, so that like is compared with like."""
    monkeypatch.setattr(crops, "SHAPE", (1300, 1300))
    item = crops.make_images(tmp_path, 1)[0]
    label = np.load(item["label"])
    assert set(np.unique(label)) <= set(range(crops.CLASSES))
    rare = crops.Compose([*crops.loading(), crops.stock(31).set_random_state(0)])
    for _ in range(3):
        assert int(rare(item)[0]["label"][0, 15, 15]) not in crops.UBIQUITOUS


def test_boundary(capsys) -> None:
    assert benchmark.main(["boundary", "--rows", "96", "--columns", "64", "--classes", "3", "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [line["maps"] for line in lines] == ["patches", "noise"]
    assert all(line[key]["seconds"] > 0 for line in lines for key in ("ours", "distance transforms"))


def test_imports(tmp_path, capsys) -> None:
    for number in range(2):
        write_dicom(tmp_path / f"{number}.dcm", ramp((16, 16)) + number, PatientID=str(number))
    assert benchmark.main(["imports", str(tmp_path), "--workers", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["workers"], each["images"]) for each in found] == [(1, 2)]
    assert benchmark.main(["imports", str(tmp_path), "--workers", "x"]) == 2
    assert benchmark.main(["imports", str(Path(tmp_path) / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.usefixtures("threads")
def test_precision(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["precision", "--bundles", "deeplabv3", "--width", "0.0625", "--repeats", "1"]) == 0
    printed = capsys.readouterr().out
    assert "8 x 160 x 160" in printed
    assert "0.0625" in printed
    assert benchmark.main(["precision", "--recipe", "slow"]) == 2
    assert "--recipe slow: expected one of quick" in capsys.readouterr().err
    assert benchmark.main(["precision", "--bundles", "deeplabv9"]) == 2


def test_epochs_are_timed_by_stage_without_validation(tiny_dataset: Path, tmp_path: Path) -> None:
    """Epochs of two batches: the clock, which advances when read, is only read at their start and end."""
    folder = tmp_path / "out" / "models"
    ticks = itertools.count()
    times = EpochTimes(lambda: float(next(ticks)), folder.parent)
    training = staged_training(tiny_dataset, folder.parent)
    training.trainer.data_loader.batch_sampler.batch_size = 2
    training.trainer.state.epoch_length = 2
    times.attach(training)
    training.prepare()
    training.run()
    assert times.seconds == {"offsets": [1.0, 1.0], "slopes": [1.0, 1.0]}
    assert times.crops == 4
    assert times.most_bytes > 0


def test_writing_is_clocked_within_a_training(tiny_dataset: Path, tmp_path: Path) -> None:
    with writing.clocked() as seconds:
        training = staged_training(tiny_dataset, tmp_path / "out", epochs=1)
        training.prepare()
        training.run()
    assert {name for name, spent in seconds.items() if spent > 0} >= {writing.ALL, "states, each epoch"}
    assert set(seconds) == {writing.ALL, *writing.WRITING}
    assert sum(seconds.values()) - seconds[writing.ALL] < seconds[writing.ALL] + 0.1  # `prepare` saves a state, too


def test_concurrent_trainings_are_timed_by_the_epochs_of_their_trainer(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clock, which advances when it is read, is read at the start and the end of each of four epochs alone."""
    training = staged_training(tiny_dataset, tmp_path / "out")
    training.prepare()
    ticks = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr("monai.bundle.run", lambda *_, **__: training.run())
    monkeypatch.setattr(SupervisedTrainer, "_fire_event", Engine._fire_event)
    monkeypatch.setattr("sys.argv", ["-c", "{}"])
    exec(together.EPOCHS, {})
    assert json.loads(capsys.readouterr().out.splitlines()[-1])[0] == 1.0
    assert next(ticks) == 8


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="counted by Linux")
def test_peak_memory_is_in_mb() -> None:
    before = reset_peak()
    held = np.ones(200_000_000, np.uint8)
    del held
    assert 199 < peak() - before < 210


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="counted by Linux")
def test_memory_that_was_freed_before_is_not_held() -> None:
    kept = []

    def held() -> float:
        before = reset_peak()
        blocks = [b"x" * 100_000 for _ in range(1000)]
        kept.append(blocks.pop())  # behind which the allocator keeps what is freed
        return peak() - before

    assert min(held(), held()) > 90


def test_networks_are_those_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The U-Net's normalization differs between recipes."""
    made: list[tuple[type, ...]] = []

    def network(bundle: str, width: float, *more: object) -> torch.nn.Module:
        found = network_of(bundle, 0.02, *more)
        made.append(tuple({type(m) for m in found.modules()} & {torch.nn.BatchNorm2d, torch.nn.InstanceNorm2d}))
        return found

    for module in (precision, step_memory, step_rows):
        monkeypatch.setattr(module, "network_of", network)
    precision._step("unet", "quick", "fp32", torch.device("cpu"), None)
    list(step_memory._stages("unet", "quick", 5))
    list(step_rows.step_rows(Group("step", "unet", "quick", 1.0), {"fp32": {}}, torch.device("cpu"), tiny=True))
    assert made == [(torch.nn.BatchNorm2d,)] * 3


@pytest.mark.parametrize(("module", "options"), [(loop, ("unet", {}, 8)), (frozen, ({},))])
def test_threads_are_those_asked_for(monkeypatch: pytest.MonkeyPatch, module: Any, options: tuple[Any, ...]) -> None:
    """Set by the environment variable, without which a training uses as many threads as the machine has free."""
    given: list[str] = []

    def run(*_: Any, env: dict[str, str], **__: Any) -> Any:
        given.append(env["OMP_NUM_THREADS"])
        return subprocess.CompletedProcess([], 1, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UserError, match="ended with code 1"):
        module._in_own_process(*options, 3)
    assert given == ["3"]
