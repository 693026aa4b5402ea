"""A staged training of a network with twelve weights, without a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ignite.metrics import Average
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler, from_engine
from monai.transforms import Compose, SelectItemsd
from torch import Tensor, nn
from torch.utils.data import DistributedSampler

from engines import (
    EpochDataset,
    Output,
    PaddedInferer,
    Stage,
    StagedTraining,
    StageTrackingHandler,
    SubjectConfusion,
    Tracking,
    WeightedCrossEntropy,
    WholeImageInferer,
    settings,
)
from transforms.argmax import ArgmaxLiked
from transforms.channels import ThreeChannelsd
from transforms.crops import RandBalancedCropd
from transforms.dataset import Dataset as Folder
from transforms.load import LoadLabeld, LoadWholed
from transforms.normalize import NormalizeRanged

FINISH = (NormalizeRanged("image"), ThreeChannelsd("image"))


class Pixelwise(nn.Module):
    """Classes by the gray value alone: the first stage trains the offsets, the second the slopes as well."""

    stages = ("offsets", "slopes")

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Conv2d(3, 3, 1)
        nn.init.zeros_(self.scores.weight)
        nn.init.zeros_(self.scores.bias)

    def set_stage(self, stage: str) -> None:
        self.scores.weight.requires_grad_(stage == "slopes")

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(x)


class Counted(SupervisedEvaluator):
    """Counts its runs."""

    runs = 0

    def run(self, global_epoch: int = 1) -> None:
        self.runs += 1
        super().run(global_epoch)


def validation(folder: Folder, network: nn.Module, section: str = "validation") -> Counted:
    """An evaluator of whole images of a dataset folder."""
    select = SelectItemsd(["image", "label", "subject", "case"])
    transform = Compose([LoadWholed("image"), LoadLabeld("label"), *FINISH, select])
    return Counted(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(folder.items(section), transform), batch_size=1),
        network=network,
        inferer=WholeImageInferer(),
        postprocessing=ArgmaxLiked("pred", "label"),
        key_val_metric={"mean_iou": SubjectConfusion(folder.class_names)},
    )


def staged_training(
    data: Path,
    out: Path,
    epochs: int = 2,
    rates: tuple[float, float] = (1.0, 1.0),
    store: Path | None = None,
    inferer: PaddedInferer | None = None,
    val_interval: int = 1,
    **more: Any,
) -> StagedTraining:
    """Two stages on the dataset folder `data`; of the options of `StagedTraining`, `more`."""
    torch.manual_seed(0)
    folder, network = Folder.load(data), Pixelwise()
    crops = RandBalancedCropd(["image", "label"], 16, num_classes=3, ubiquitous=[0, 1])
    dataset = EpochDataset(folder.items("training"), Compose([crops, *FINISH, SelectItemsd(["image", "label"])]))
    evaluator = validation(folder, network)
    tracking = Tracking("e", "toy", str(store or out / "none.db"), enabled=store is not None)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader(dataset, sampler=DistributedSampler(dataset, 1, 0), batch_size=4),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.9),
        loss_function=WeightedCrossEntropy(),
        inferer=inferer or PaddedInferer(),
        key_train_metric={"train_loss": Average(output_transform=from_engine("loss", first=True))},
        train_handlers=[ValidationHandler(val_interval, evaluator), StageTrackingHandler(tracking)],
    )
    plan = [Stage(name, epochs, 16, rate) for name, rate in zip(Pixelwise.stages, rates, strict=True)]
    options = {"patience": 0, **more}
    return StagedTraining(
        trainer, evaluator, plan, Output(str(out)), tracking, settings=settings(folder, {}), **options
    )
