"""`engines.training.losses`: the paper's weights, void pixels, and the scale of the loss."""

from __future__ import annotations

import math

import pytest
import torch

from engines.training.losses import WeightedCrossEntropy
from transforms.crops import VOID


def test_hand_computed() -> None:
    logits = torch.zeros(1, 2, 1, 3)
    logits[0, 1, 0, 2] = math.log(3)  # probabilities 1/4, 3/4
    label = torch.tensor([[[[0, 1, 1]]]], dtype=torch.uint8)
    loss = WeightedCrossEntropy(weight=[0.25, 0.75])(logits, label)
    expected = (0.25 * math.log(2) + 0.75 * math.log(2) + 0.75 * math.log(4 / 3)) / (0.25 + 0.75 + 0.75)
    assert loss.item() == pytest.approx(expected)


def test_equal_scores_cost_log_of_the_number_of_classes() -> None:
    label = torch.randint(0, 4, (2, 1, 5, 5))
    assert WeightedCrossEntropy([0.1, 0.2, 0.9, 0.8])(torch.zeros(2, 4, 5, 5), label).item() == pytest.approx(
        math.log(4)
    )


@pytest.mark.parametrize("dice_weight", [0.0, 1.0])
@pytest.mark.parametrize("void", [VOID, 7])
def test_void_pixels_change_neither_loss_nor_gradient(void: int, dice_weight: float) -> None:
    loss = WeightedCrossEntropy([0.3, 0.7], ignore_label=7, dice_weight=dice_weight)
    label = torch.tensor([[[[0, 1, void]]]], dtype=torch.uint8)
    gradients, losses = [], []
    for value in (0.0, 50.0):
        logits = torch.tensor([[[[0.5, -1.0, value]], [[0.0, 2.0, -value]]]], requires_grad=True)
        losses.append(loss(logits, label))
        losses[-1].backward()
        gradients.append(logits.grad)
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(gradients[0][..., :2], gradients[1][..., :2])
    assert not gradients[1][..., 2].any()


def test_nothing_but_void_is_zero_not_nan() -> None:
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    loss = WeightedCrossEntropy([0.3, 0.7])(logits, torch.full((1, 1, 2, 2), VOID, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()


def test_dice_is_added_by_its_weight_and_void_counts_for_nothing() -> None:
    logits = torch.zeros(1, 2, 1, 3, requires_grad=True)
    label = torch.tensor([[[[0, 1, VOID]]]], dtype=torch.uint8)
    plain = WeightedCrossEntropy()(logits, label)
    # soft Dice of each class over the two valid pixels: 2 * 0.5 / (0.5 + 0.5 + 1)
    both = WeightedCrossEntropy(dice_weight=3.0)(logits, label)
    assert (both - plain).item() == pytest.approx(3.0 * 0.5, abs=1e-4)
    (gradient,) = torch.autograd.grad(both, logits)
    assert (gradient[..., 2] == 0).all()
