"""`BatchGradients`: several passes have the gradient of one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import Tensor, nn

from engines.training.accumulation import BatchGradients
from engines.training.losses import SegmentationLoss, WeightedCrossEntropy, WeightedFocal
from transforms.dataset import VOID

WEIGHTS = [0.1, 0.7, 1.0]
IGNORED = 9


def crops(number: int) -> tuple[Tensor, Tensor]:
    """Images (number, 1, 8, 8), and labels with a share of void pixels that grows from 0 to nearly all."""
    random = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 3, (number, 1, 8, 8), generator=random)
    for n in range(number):
        labels[n, 0, : 7 * n // max(1, number - 1)] = VOID if n % 2 else IGNORED
    return torch.randn(number, 1, 8, 8, generator=random), labels


def gradients(loss: nn.Module, images: Tensor, labels: Tensor, micro: int, batch: int) -> tuple[list[Tensor], Any]:
    """Gradients at each optimizer step of an epoch, and the losses of its passes."""
    torch.manual_seed(0)
    network = nn.Conv2d(1, 3, 3, padding=1)
    found, losses = [], []

    class Optimizer(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            found.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))

    starts = range(0, len(images), micro)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=[{"image": images[n : n + micro], "label": labels[n : n + micro]} for n in starts],
        network=network,
        optimizer=Optimizer(network.parameters(), lr=1.0),
        loss_function=loss,
        train_handlers=[BatchGradients()],
        decollate=False,
        accumulation_steps=batch // micro,
    )
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"].detach())
    )
    trainer.run()
    return found, [value.item() for value in losses]


LOSSES = [WeightedCrossEntropy(WEIGHTS, IGNORED), WeightedFocal(WEIGHTS, IGNORED), WeightedCrossEntropy(None, IGNORED)]


@pytest.mark.parametrize("loss", LOSSES, ids=["cross-entropy", "focal", "without weights"])
@pytest.mark.parametrize("micro", [1, 2])
def test_gradients_of_passes_are_those_of_the_batch(loss: SegmentationLoss, micro: int) -> None:
    images, labels = crops(6)  # a batch of four, and one of the remaining two
    expected, _ = gradients(loss, images, labels, 4, 4)
    found, losses = gradients(loss, images, labels, micro, 4)
    assert len(found) == len(expected) == 4  # two epochs
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    torch.manual_seed(0)
    network = nn.Conv2d(1, 3, 3, padding=1)
    parts = zip(images.split(micro), labels.split(micro), strict=True)
    assert losses == pytest.approx(2 * [loss(network(a), b).item() for a, b in parts])  # as without accumulation


def test_a_batch_of_void_pixels_has_no_gradient() -> None:
    images, labels = crops(4)
    ((gradient, _), _) = gradients(WeightedCrossEntropy(WEIGHTS), images, torch.full_like(labels, VOID), 1, 4)
    assert gradient.tolist() == [0] * len(gradient)


def test_passes_of_another_loss_count_with_their_crops() -> None:
    class Mean(nn.Module):
        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            return (logits * labels.clamp(max=2)).mean()

    images, labels = crops(7)
    expected, _ = gradients(Mean(), images, labels, 6, 6)
    found, _ = gradients(Mean(), images, labels, 3, 6)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_total_weight_by_hand() -> None:
    labels = torch.tensor([[[[0, 0, 1, 2, VOID, IGNORED]]]])
    assert float(WeightedCrossEntropy(WEIGHTS, IGNORED).total_weight(labels)) == pytest.approx(1.9)
    assert float(WeightedCrossEntropy(None, IGNORED).total_weight(labels)) == 4
