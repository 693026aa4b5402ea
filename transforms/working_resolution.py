"""Working resolution: resizing of images to the network's height, and of logits back to the label's size.

One convention everywhere: pixel centers at half-integers (`align_corners=False`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from transforms.decision import Decision, decide, lesion_probability, most_likely
from transforms.reading.limits import check_oblong


def working_scale(height: int, image_height: int | None) -> float:
    """Return the stored pixels per working pixel for an image of `height` rows (1.0: stored resolution)."""
    return 1.0 if image_height is None else height / image_height


def working_size(height: int, width: int, image_height: int | None) -> tuple[int, int]:
    """(H, W) of a whole image at the working resolution, with the aspect kept.

    Raises:
        UserError: the image is a strip, which would become huge at that height.

    Examples:
        >>> working_size(3328, 2560, image_height=512)
        (512, 394)
    """
    if image_height is None:
        return height, width
    check_oblong("image", height, width)
    return image_height, max(1, round(width * image_height / height))


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Float image (C, H, W) → (C, *size), antialiased when downsampling."""
    if tuple(image.shape[-2:]) == size:
        return image
    return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]


def resize_label(label: Tensor, size: tuple[int, int]) -> Tensor:
    """Label map (C, H, W), any integer type → (C, *size), each pixel the label at its center."""
    if tuple(label.shape[-2:]) == size:
        return label
    return F.interpolate(label[None], size=size, mode="nearest-exact")[0]


def upsampled_argmax(
    logits: Tensor, size: tuple[int, int], strip: int = 256, decision: Decision | None = None
) -> Tensor:
    """Most likely class at a finer resolution: float (C, h, w) → uint8 (1, *size).

    Equal to the argmax (or the decision) of the bilinearly resized logits, computed in strips of rows so that the
    logits of a whole mammogram never exist at full resolution.

    Args:
        strip: output rows computed at a time; memory is C * strip * W floats.
        decision: decides by a threshold on the lesion probability instead.
    """
    if tuple(logits.shape[-2:]) == size and decision is None:
        return most_likely(logits)
    out = torch.empty((1, *size), dtype=torch.uint8, device=logits.device)
    for start, part in upsampled_strips(logits, size, strip):
        out[:, start : start + part.shape[1]] = decide(part, decision)
    return out


def upsampled_probability(logits: Tensor, classes: Sequence[int], size: tuple[int, int], strip: int = 256) -> Tensor:
    """Summed probability of the given classes: float (C, h, w) → float32 (*size), on the CPU.

    Softmax of the bilinearly resized logits that `upsampled_argmax` compares, summed over the classes.
    """
    out = torch.empty(size, dtype=torch.float32)
    for start, part in upsampled_strips(logits, size, strip):
        out[start : start + part.shape[1]] = lesion_probability(part, classes)
    return out


def upsampled_strips(logits: Tensor, size: tuple[int, int], strip: int = 256) -> Iterator[tuple[int, Tensor]]:
    """Yield the bilinearly resized logits as (number of the first row, strip float32 (C, rows, W))."""
    height = logits.shape[-2]
    columns = logits[None].float()
    if tuple(logits.shape[-2:]) != size:
        columns = F.interpolate(columns, size=(height, size[1]), mode="bilinear", align_corners=False)
    columns = columns[0]
    for start in range(0, size[0], strip):
        stop = min(start + strip, size[0])
        if height == size[0]:
            yield start, columns[:, start:stop]
            continue
        rows = (torch.arange(start, stop, device=logits.device, dtype=torch.float32) + 0.5) * (height / size[0]) - 0.5
        rows = rows.clamp_(0, height - 1)
        low = rows.floor().long()
        high = (low + 1).clamp_(max=height - 1)
        yield start, torch.lerp(columns[:, low], columns[:, high], (rows - low)[None, :, None])
