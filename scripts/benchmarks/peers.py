"""Training steps of DeepLabv3 against those of segmentation_models_pytorch (smp), in one process."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.measuring.peer_steps import compare_steps


def peers(
    recipes: Annotated[str, typer.Option(help="Comma-separated recipes for crops and batches.")] = "quick,tissue",
    device: Annotated[str, typer.Option(help="cuda or cpu. Default: a GPU if available.")] = "",
    repeats: Annotated[int, typer.Option(min=1, help="Turns; the median is reported.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time training steps of DeepLabv3 at width 1 against smp's with group norm, in turns.

    Needs an environment with segmentation_models_pytorch, torch, torchvision, NumPy, SciPy, MONAI and ignite, but not
    typer. Both have ResNet-18, output stride 8, the same pyramid, group norm with 32 groups, logits of the image's
    size, cross-entropy and AdamW, in fp32. By default, smp also has a 3x3 convolution after the pyramid and dropout,
    which the third row omits. It resizes logits by another rule (align_corners).
    """
    compare_steps(recipes, device, repeats, threads, as_json)
