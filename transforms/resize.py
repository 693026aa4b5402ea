"""The working resolution: how an image is brought to the height a network sees, and logits back to a label's size.

One convention everywhere: pixel centres at half-integers (`align_corners=False`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from transforms.reading.limits import check_oblong


def working_scale(height: int, image_height: int | None) -> float:
    """Stored pixels per working pixel for an image of `height` rows (1.0 keeps the stored resolution)."""
    return 1.0 if image_height is None else height / image_height


def working_size(height: int, width: int, image_height: int | None) -> tuple[int, int]:
    """(H, W) of a whole image at the working resolution, aspect kept.

    Raises:
        UserError: a strip, which would become a giant at that height.
    """
    if image_height is None:
        return height, width
    check_oblong("image", height, width)
    return image_height, max(1, round(width * image_height / height))


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Float image (C, H, W) → (C, *size), antialiased when it shrinks."""
    if tuple(image.shape[-2:]) == size:
        return image
    return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]


def resize_label(label: Tensor, size: tuple[int, int]) -> Tensor:
    """Label map (C, H, W), any integer type → (C, *size), each pixel the label at its centre."""
    if tuple(label.shape[-2:]) == size:
        return label
    return F.interpolate(label[None], size=size, mode="nearest-exact")[0]


def upsampled_argmax(logits: Tensor, size: tuple[int, int], strip: int = 256) -> Tensor:
    """Most likely class at a finer resolution: float (C, h, w) → uint8 (1, *size).

    Equal to the argmax of the bilinearly resized logits, made in strips of rows so that the logits of a whole
    mammogram never exist at full resolution.

    Args:
        strip: rows of the output made at a time; memory is C * strip * W floats.
    """
    height, width = logits.shape[-2:]
    if (height, width) == size:
        return most_likely(logits)
    columns = F.interpolate(logits[None].float(), size=(height, size[1]), mode="bilinear", align_corners=False)[0]
    out = torch.empty((1, *size), dtype=torch.uint8, device=logits.device)
    for start in range(0, size[0], strip):
        stop = min(start + strip, size[0])
        rows = (torch.arange(start, stop, device=logits.device, dtype=torch.float32) + 0.5) * (height / size[0]) - 0.5
        rows = rows.clamp_(0, height - 1)
        low = rows.floor().long()
        high = (low + 1).clamp_(max=height - 1)
        part = torch.lerp(columns[:, low], columns[:, high], (rows - low)[None, :, None])
        out[:, start:stop] = most_likely(part)
    return out


def most_likely(scores: Tensor) -> Tensor:
    """The first of the classes with the highest score: (C, h, w) → uint8 (1, h, w)."""
    return scores.max(dim=0, keepdim=True).indices.to(torch.uint8)  # on a CPU, many times faster than argmax
