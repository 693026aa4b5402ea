"""Working resolution and the way back to a label's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.working_resolution import most_likely, resize_image, resize_label, upsampled_argmax, working_size


@settings(max_examples=40, deadline=None)
@given(
    small=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    big=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    strip=st.integers(1, 70),
    seed=st.integers(0, 9),
)
def test_upsampled_argmax_in_strips_equals_the_argmax_of_resized_logits(
    small: tuple[int, int], big: tuple[int, int], strip: int, seed: int
) -> None:
    logits = torch.randn(4, *small, generator=torch.Generator().manual_seed(seed))
    whole = F.interpolate(logits[None], size=big, mode="bilinear", align_corners=False)[0]
    ours = upsampled_argmax(logits, big, strip)
    assert ours.shape == (1, *big)
    assert ours.dtype == torch.uint8
    chosen = whole.gather(0, ours.long())
    assert torch.allclose(chosen, whole.amax(0, keepdim=True), atol=1e-5)  # ties aside, the same class


@pytest.mark.parametrize(
    ("size", "height", "expected"),
    [((960, 480), 256, (256, 128)), ((960, 480), None, (960, 480)), ((100, 6), 10, (10, 1)), ((3, 7), 9, (9, 21))],
)
def test_working_size_keeps_the_aspect(size: tuple[int, int], height: int | None, expected: tuple[int, int]) -> None:
    assert working_size(*size, height) == expected


def test_shrinking_averages() -> None:
    stripes = torch.tensor([0.0, 1.0]).repeat(16).expand(1, 32, 32)
    assert (resize_image(stripes, (8, 8))[:, :, 2:-2] - 0.5).abs().max() < 0.05


def test_labels_are_never_mixed() -> None:
    label = torch.tensor([[[0, 200], [7, 255]]], dtype=torch.uint8)
    assert set(resize_label(label, (5, 7)).unique().tolist()) == {0, 7, 200, 255}


def test_of_equal_scores_the_first_class_counts() -> None:
    scores = torch.tensor([[1.0, 2.0, 0.0], [1.0, 3.0, 0.0], [0.0, 3.0, 0.0]])[:, None]  # 3 classes, 1 row
    assert most_likely(scores).tolist() == [[[0, 1, 0]]]
    some = torch.randint(0, 4, (5, 60, 70), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(most_likely(some).long(), some.argmax(0, keepdim=True))
