"""Two processes train like one with twice the batch, and only one writes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bundle_process import BundleProcess, arguments, run
from dataset_factory import make_dataset
from mlflow.tracking import MlflowClient
from monai.bundle import ConfigParser
from repository import ROOT

from engines.base.distributed import parallel, share_averages, summed
from engines.base.world import gathered, is_main, rank, shard, world_size
from engines.records.tables import read_csv
from transforms.errors import UserError

TRAIN = "bundles/unet/configs/train.json"  # a network without dropout, whose masks would differ
TWO = f"['{TRAIN}','bundles/unet/configs/multi_gpu_train.json']"
SLIM = "--width 0.02 --image_height '$None' --crop_size 24 --learning_rate 0.01 --crops_per_image 1 --max_epochs 2"
SLIM += " --loss cross_entropy --class_weights paper --sampling image --augmentation mammography --ema_decay 0.0"
SLIM += " --solver sgd --weight_decay 0.0005 --lr_schedule piecewise --mirror_averaging False --val_interval 1"
SLIM += " --fine_tuning $None --norm instance"
"""Dice and batch normalization are of each process's own crops: only losses per pixel train alike."""


def words(config: str, batch: int, passes: int, data: Path, out: Path, store: Path, options: str) -> list[str]:
    return arguments(
        "training", config, *SLIM.split(), *options.split(), "--batch_size", str(batch),
        "--micro_batch_size", str(batch // passes), "--dataset_dir", data, "--output_dir", out, "--tracking_uri", store,
    )  # fmt: skip


def with_torchrun(words: list[str]) -> str:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, "-m", "monai.bundle", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stderr
    return result.stdout


def in_two_processes(words: list[str]) -> str:
    """Imitate torchrun, without its start-up time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = ({"RANK": number, "LOCAL_RANK": number} for number in "01")
    processes = [BundleProcess(words, environment=common | rank) for rank in ranks]
    for process in processes:
        assert process.wait() == 0, process.stderr
    return "".join(process.stdout for process in processes)


@pytest.mark.parametrize(
    ("start", "passes", "options"),
    [(with_torchrun, 1, ""), (in_two_processes, 2, "--sampling class --ema_decay 0.5 --loss focal")],
    ids=["image", "class"],
)
def test_two_processes_train_like_one_with_the_doubled_batch(
    tmp_path: Path, store: Path, start: Callable[[list[str]], str], passes: int, options: str
) -> None:
    data = make_dataset(tmp_path / "data", subjects=10)
    alone = run(words(TRAIN, 4, passes, data, tmp_path / "one", store, options))
    assert alone.returncode == 0, alone.stderr
    printed = start(words(TWO, 2, passes, data, tmp_path / "two", store, options))
    one, two = (torch.load(tmp_path / n / "models" / "progress.pt", weights_only=True) for n in ("one", "two"))
    for entry in ("network", "average")[: 2 if "ema_decay" in options else 1]:
        for name, value in one[entry].items():
            assert torch.allclose(value, two[entry][name], atol=1e-5), name
    losses = [[float(r["train_loss"]) for r in read_csv(tmp_path / n / "eval" / "epochs.csv")] for n in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    first = [float(read_csv(tmp_path / n / "eval" / "epochs.csv")[0]["mean_iou"]) for n in ("one", "two")]
    assert first[0] == pytest.approx(first[1], abs=0.01)
    assert printed.count("Scores on the 2 validation subjects") == 1
    subjects = [row["subject"] for row in read_csv(tmp_path / "two" / "eval" / "subjects.csv")]
    assert subjects == ["s008", "s009"]
    assert sorted(p.name for p in (tmp_path / "two" / "eval" / "panels").iterdir()) == ["s008.png", "s009.png"]
    client = MlflowClient(f"sqlite:///{store}")
    runs = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
    assert len(runs) == 4  # two trainings of one stage each


def test_the_overlay_changes_what_it_names_and_nothing_else() -> None:
    parsers = []
    for files in ([TRAIN], [TRAIN, "bundles/unet/configs/multi_gpu_train.json"]):
        parser = ConfigParser()
        parser.read_config([str(ROOT / name) for name in files])
        parsers.append(parser)
    plain, overlaid = parsers
    changed = {"_desc_", "device", "initialize", "finalize"}
    assert {k for k in overlaid.config if overlaid.config.get(k) != plain.config.get(k)} == {
        *changed,
        "train",
        "validate",
    }
    for key, part in (("train", "sampler"), ("validate", "dataset")):
        different = {k for k, v in overlaid[key].items() if v != plain[key][k]}
        assert different == {part}


def test_one_process_alone() -> None:
    network = torch.nn.Linear(1, 1)
    assert (world_size(), rank(), is_main()) == (1, 0, True)
    assert parallel(network) is network
    assert gathered([1, 2]) == [1, 2]
    assert summed(torch.ones(2)).tolist() == [1, 1]
    items = [{"subject": s} for s in "aab"]
    assert shard(items) == items


def test_running_averages_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process adds 3 to every average, which is then halved; batch counts are unchanged."""
    network = torch.nn.BatchNorm2d(1)
    share_averages(network)  # one process alone
    assert network.running_var is not None
    assert network.running_var.item() == 1
    monkeypatch.setattr("engines.base.distributed.world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: tensor.add_(3))
    share_averages(network)
    assert {name: float(value) for name, value in network.named_buffers()} == {
        "running_mean": 1.5, "running_var": 2.0, "num_batches_tracked": 0,
    }  # fmt: skip


EXCHANGES = """
import sys
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from engines.base.distributed import exchange_once, parallel
rank = int(sys.argv[2])
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=rank, world_size=2)
network = torch.nn.Sequential(torch.nn.BatchNorm2d(1, momentum=0.5), torch.nn.Conv2d(1, 1, 1))
image, label = torch.full((2, 1, 2, 2), 8.0 * (1 + rank)), torch.ones(2, 1, 2, 2)
batches = [{"image": image, "label": label}] * 3
trainer = SupervisedTrainer(
    torch.device("cpu"), 1, batches, parallel(network), torch.optim.SGD(network.parameters(), 0.0),
    lambda prediction, target: (prediction * (1 + rank)).mean(), accumulation_steps=2, decollate=False,
)
exchange_once(trainer, SupervisedEvaluator(torch.device("cpu"), batches, network))
found = []

@trainer.on(Events.ITERATION_COMPLETED)
def look():
    found.append((float(network[1].bias.grad), float(network[0].running_mean)))

trainer.run()
print([gradient for gradient, _ in found], [average for _, average in found])
"""


def test_processes_exchange_gradients_per_update_and_averages_per_epoch(tmp_path: Path) -> None:
    """Two updates, of two passes and of one; MONAI halves all three losses. The first process sees 8, the other 16."""
    words = [sys.executable, "-c", EXCHANGES, str(tmp_path / "meeting")]
    started = [subprocess.Popen([*words, number], cwd=ROOT, stdout=subprocess.PIPE, text=True) for number in "01"]
    printed = [process.communicate()[0].splitlines()[-1] for process in started]
    assert printed == ["[0.5, 1.5, 0.75] [4.0, 6.0, 10.5]", "[1.0, 1.5, 0.75] [8.0, 12.0, 10.5]"]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_every_subject_is_validated_once_and_whole(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"subject": f"s{n // 2}", "n": n} for n in range(9)]
    monkeypatch.setattr("engines.base.world.world_size", lambda: size)
    parts = []
    for number in range(size):
        monkeypatch.setattr("engines.base.world.rank", lambda number=number: number)
        parts.append(shard(items))
    assert sorted(item["n"] for part in parts for item in part) == list(range(9))
    with pytest.raises(UserError, match=f"{size} processes share 0 validation subjects"):
        shard([])
    for subject in {item["subject"] for item in items}:
        assert sum(any(item["subject"] == subject for item in part) for part in parts) == 1
