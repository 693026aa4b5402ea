"""`engines.training.losses`: hand-computed values, void pixels, and the scale of the losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.losses import DiceLoss
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from engines.base.loss_parameters import flat_parameters
from engines.training.losses import (
    FocalTversky,
    SegmentationLoss,
    TopKCrossEntropy,
    WeightedCrossEntropy,
    WeightedFocal,
)
from transforms.dataset import VOID
from transforms.errors import UserError

WEIGHTS = [0.3, 0.7]
LOSSES: dict[str, Callable[..., SegmentationLoss]] = {
    "cross_entropy": lambda **k: WeightedCrossEntropy(WEIGHTS, **k),
    "dice_cross_entropy": lambda **k: WeightedCrossEntropy(WEIGHTS, dice_weight=1.0, **k),
    "focal": lambda **k: WeightedFocal(WEIGHTS, **k),
    "dice_focal": lambda **k: WeightedFocal(WEIGHTS, dice_weight=1.0, **k),
    "tversky": lambda **k: FocalTversky(**k),
    "focal_tversky": lambda **k: FocalTversky(gamma=0.75, **k),
    "top_k": lambda **k: TopKCrossEntropy(WEIGHTS, share=0.5, **k),
}
each_loss = pytest.mark.parametrize("name", LOSSES)


def three_pixels() -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of class 1: 1/2, 1/2, 3/4; truth 0, 1, 1."""
    logits = torch.zeros(1, 2, 1, 3)
    logits[0, 1, 0, 2] = math.log(3)
    return logits, torch.tensor([[[[0, 1, 1]]]], dtype=torch.uint8)


def test_cross_entropy_by_hand() -> None:
    loss = WeightedCrossEntropy([0.25, 0.75])(*three_pixels())
    expected = (0.25 * math.log(2) + 0.75 * math.log(2) + 0.75 * math.log(4 / 3)) / (0.25 + 0.75 + 0.75)
    assert loss.item() == pytest.approx(expected)


def test_focal_by_hand() -> None:
    loss = WeightedFocal([0.25, 0.75], gamma=2.0)(*three_pixels())
    # (1 - p)^2 of the true classes: 1/4, 1/4, 1/16
    costs = [0.25 * math.log(2) / 4, 0.75 * math.log(2) / 4, 0.75 * math.log(4 / 3) / 16]
    assert loss.item() == pytest.approx(sum(costs) / 1.75)


@pytest.mark.parametrize(("share", "hardest"), [(0.1, 1), (1 / 3, 1), (0.5, 2), (1.0, 3)])
def test_top_k_by_hand(share: float, hardest: int) -> None:
    loss = TopKCrossEntropy([0.25, 0.75], share=share)(*three_pixels())
    # from the most expensive pixel down: (cost, weight)
    pixels = [(0.75 * math.log(2), 0.75), (0.75 * math.log(4 / 3), 0.75), (0.25 * math.log(2), 0.25)][:hardest]
    assert pixels == sorted(pixels, reverse=True)
    assert loss.item() == pytest.approx(sum(cost for cost, _ in pixels) / sum(weight for _, weight in pixels))


@pytest.mark.parametrize("gamma", [1.0, 0.75, 2.0])
def test_tversky_by_hand(gamma: float) -> None:
    loss = FocalTversky(alpha=0.3, beta=0.7, gamma=gamma)(*three_pixels())
    # class 0: truth 1, 0, 0; p 1/2, 1/2, 1/4. class 1: truth 0, 1, 1; p 1/2, 1/2, 3/4
    index_0 = 0.5 / (0.5 + 0.3 * 0.75 + 0.7 * 0.5)
    index_1 = 1.25 / (1.25 + 0.3 * 0.5 + 0.7 * 0.75)
    assert loss.item() == pytest.approx(((1 - index_0) ** gamma + (1 - index_1) ** gamma) / 2, abs=1e-5)


def test_focal_and_top_k_are_cross_entropy_at_their_ends() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(2, 2, 6, 5), torch.randint(0, 2, (2, 1, 6, 5))
    label[0, 0, :2] = VOID
    expected = WeightedCrossEntropy(WEIGHTS)(logits, label)
    assert torch.allclose(WeightedFocal(WEIGHTS, gamma=0.0)(logits, label), expected, atol=1e-6)
    assert torch.allclose(TopKCrossEntropy(WEIGHTS, share=1.0)(logits, label), expected, atol=1e-6)


def test_equal_scores_cost_log_of_the_number_of_classes() -> None:
    label = torch.randint(0, 4, (2, 1, 5, 5))
    assert WeightedCrossEntropy([0.1, 0.2, 0.9, 0.8])(torch.zeros(2, 4, 5, 5), label).item() == pytest.approx(
        math.log(4)
    )


@each_loss
@pytest.mark.parametrize("void", [VOID, 7])
def test_void_pixels_change_neither_loss_nor_gradient(void: int, name: str) -> None:
    loss = LOSSES[name](ignore_label=7)
    label = torch.tensor([[[[0, 1, void, 1]]]], dtype=torch.uint8)
    gradients, losses = [], []
    for value in (0.0, 50.0, -300.0):
        logits = torch.tensor([[[[0.5, -1.0, value, 0.1]], [[0.0, 2.0, -value, 0.3]]]], requires_grad=True)
        losses.append(loss(logits, label))
        losses[-1].backward()
        gradients.append(logits.grad)
        assert not logits.grad[..., 2].any()
        assert logits.grad[..., :2].any()
    for other in (1, 2):
        assert torch.equal(losses[0], losses[other])
        assert torch.equal(gradients[0], gradients[other])


@each_loss
def test_void_pixels_might_as_well_not_be_there(name: str) -> None:
    torch.manual_seed(1)
    logits, label = torch.randn(1, 2, 4, 6), torch.randint(0, 2, (1, 1, 4, 6))
    label[..., 4:] = VOID
    assert torch.allclose(LOSSES[name]()(logits, label), LOSSES[name]()(logits[..., :4], label[..., :4]), atol=1e-6)


class Reads(TorchDispatchMode):
    """Counts values read from tensors, which synchronize with a GPU."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@each_loss
@pytest.mark.parametrize("void", [0, 3, 6], ids=["no void", "some void", "nothing but void"])
def test_on_a_gpu_the_same_without_a_look_at_the_labels(name: str, void: int, monkeypatch: pytest.MonkeyPatch) -> None:
    label = torch.tensor([0, 1, 1, 0, 1, 0], dtype=torch.uint8).view(1, 1, 2, 3)
    label.view(-1)[:void] = VOID
    results = []
    for gpu in (False, True):
        monkeypatch.setattr("engines.training.losses.on_gpu", lambda device, gpu=gpu: gpu)
        logits = torch.linspace(-1, 2, 12).view(1, 2, 2, 3).requires_grad_()
        with Reads() as reads:
            loss = LOSSES[name]()(logits, label)
        loss.backward()
        results.append((loss.detach(), logits.grad))
        if name == "cross_entropy":  # others are MONAI's, or count the valid pixels
            assert reads.count == (0 if gpu else 1)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@each_loss
def test_nothing_but_void_is_zero_not_nan(name: str) -> None:
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    loss = LOSSES[name]()(logits, torch.full((1, 1, 2, 2), VOID, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()


@each_loss
def test_every_loss_falls_to_a_right_answer_and_never_to_nan(name: str) -> None:
    torch.manual_seed(0)
    label = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    label[0, 0, 2:4, 2:5] = 1
    logits = torch.randn(2, 2, 8, 8, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    first = last = LOSSES[name]()(logits, label)
    for _ in range(200):
        optimizer.zero_grad()
        last = LOSSES[name]()(logits, label)
        last.backward()
        assert torch.isfinite(logits.grad).all()
        optimizer.step()
    assert last < 0.2 * first
    assert torch.equal(logits.argmax(1, keepdim=True), label.long())


@each_loss
def test_certain_answers_have_finite_gradients(name: str) -> None:
    label = torch.tensor([[[[0, 1]]]], dtype=torch.uint8)
    for sign in (1, -1):  # all right, all wrong
        logits = torch.tensor([[[[90.0, -90.0]], [[-90.0, 90.0]]]]).mul(sign).requires_grad_()
        LOSSES[name]()(logits, label).backward()
        assert torch.isfinite(logits.grad).all()


class Before(nn.CrossEntropyLoss):
    """The loss as it was while `dice_weight` was an option, for one process."""

    def __init__(self, weight: list[float], dice_weight: float) -> None:
        super().__init__(torch.tensor(weight, dtype=torch.float32), ignore_index=VOID)
        self.dice_weight = dice_weight
        self.dice = DiceLoss(to_onehot_y=True, softmax=True, batch=True, ignore_index=VOID)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        classes = target.squeeze(1).long()
        loss = super().forward(input, classes)
        return loss + self.dice_weight * self.dice(input, classes[:, None]) if self.dice_weight else loss


@pytest.mark.parametrize("dice_weight", [0.0, 1.0])
def test_the_losses_of_earlier_versions_to_the_last_bit(dice_weight: float) -> None:
    torch.manual_seed(2)
    values, label = torch.randn(3, 4, 17, 13), torch.randint(0, 4, (3, 1, 17, 13))
    label[1, :, :5] = VOID
    weights = [0.31, 0.92, 0.995, 0.775]
    results = []
    for loss in (Before(weights, dice_weight), WeightedCrossEntropy(weights, dice_weight=dice_weight)):
        logits = values.clone().requires_grad_()
        cost = loss(logits, label)
        cost.backward()
        results.append((cost, logits.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_dice_is_added_by_its_weight_and_void_counts_for_nothing() -> None:
    logits = torch.zeros(1, 2, 1, 3, requires_grad=True)
    label = torch.tensor([[[[0, 1, VOID]]]], dtype=torch.uint8)
    plain = WeightedCrossEntropy()(logits, label)
    # soft Dice of each class over the two valid pixels: 2 * 0.5 / (0.5 + 0.5 + 1)
    both = WeightedCrossEntropy(dice_weight=3.0)(logits, label)
    assert (both - plain).item() == pytest.approx(3.0 * 0.5, abs=1e-4)
    (gradient,) = torch.autograd.grad(both, logits)
    assert (gradient[..., 2] == 0).all()


def test_the_dice_of_a_class_may_count_more() -> None:
    """Two valid pixels of classes 0 and 1, none of class 2, logits all alike: losses 1 - 2/5, 1 - 2/5 and 1."""
    logits, label = torch.zeros(1, 3, 1, 2), torch.tensor([[[[0, 1]]]], dtype=torch.uint8)
    plain = WeightedCrossEntropy()(logits, label).item()
    even = WeightedCrossEntropy(dice_weight=1.0)(logits, label).item() - plain
    six = WeightedCrossEntropy(dice_weight=1.0, dice_class_weights=[1, 6, 1])(logits, label).item() - plain
    assert even == pytest.approx((0.6 + 0.6 + 1) / 3, abs=1e-4)
    assert six == pytest.approx((0.6 + 6 * 0.6 + 1) / 3, abs=1e-4)
    used = WeightedCrossEntropy(dice_weight=1.0, dice_class_weights=[1, 6, 1]).parameters_used
    assert used["dice_class_weights"] == [1.0, 6.0, 1.0]
    assert flat_parameters(used)["loss_parameters"] == "dice_weight 1, dice_class_weights [1, 6, 1]"


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "top_k"])
def test_parts_of_several_processes_average_to_the_loss_of_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process divides by the weights of all; top-k takes all pixels here, as each takes its own share."""
    torch.manual_seed(3)
    logits, label = torch.randn(4, 2, 5, 5), torch.randint(0, 2, (4, 1, 5, 5))
    label[0] = VOID  # one process without a valid pixel
    loss = TopKCrossEntropy(WEIGHTS, share=1.0) if name == "top_k" else LOSSES[name]()
    expected = loss(logits, label)
    parts = [slice(0, 1), slice(1, 4)]
    totals = [loss.weights_of(logits[p], label[p].squeeze(1)).sum() for p in parts]
    monkeypatch.setattr("engines.training.losses.world_size", lambda: 2)
    monkeypatch.setattr("engines.training.losses.summed", lambda value: sum(totals))
    costs = [loss(logits[p], label[p]) for p in parts]
    assert torch.allclose(sum(costs) / 2, expected, atol=1e-6)


@each_loss
def test_of_several_logits_each_has_half_the_weight_of_the_one_before(name: str) -> None:
    torch.manual_seed(4)
    logits, label = torch.randn(3, 1, 2, 4, 4), torch.randint(0, 2, (1, 1, 4, 4))
    loss = LOSSES[name]()
    first, second, third = (loss(part, label) for part in logits)
    assert torch.allclose(loss(list(logits), label), (4 * first + 2 * second + third) / 7)


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(UserError, match="the network returns 3 classes; the data set has 2"):
        WeightedCrossEntropy(WEIGHTS)(torch.zeros(1, 3, 2, 2), torch.zeros(1, 1, 2, 2))


def test_what_was_used_is_said() -> None:
    assert WeightedCrossEntropy([0.25, 0.75]).parameters_used == {"class_weights": [0.25, 0.75], "dice_weight": 0.0}
    assert FocalTversky(gamma=0.75).parameters_used == {
        "class_weights": None,
        "dice_weight": 0.0,
        "alpha": 0.3,
        "beta": 0.7,
        "gamma": 0.75,
    }
    assert flat_parameters(WeightedFocal([0.25, 0.75]).parameters_used) == {
        "class_weights_used": "0.2500, 0.7500",
        "loss_parameters": "dice_weight 0, gamma 2",
    }
    assert flat_parameters(TopKCrossEntropy().parameters_used)["class_weights_used"] == "none"


def test_parameters_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="share must be above 0 and at most 1, got 0"):
        TopKCrossEntropy(share=0)
    with pytest.raises(ValueError, match="gamma must be above 0, got -1"):
        FocalTversky(gamma=-1)
