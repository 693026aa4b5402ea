"""Training steps of DeepLabv3 against those of segmentation_models_pytorch's, in one process."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.measuring.peer_steps import compare_steps


def peers(
    recipes: Annotated[str, typer.Option(help="Whose crops and batches, with commas.")] = "quick,tissue",
    device: Annotated[str, typer.Option(help="cuda or cpu. Default: a GPU if there is one.")] = "",
    repeats: Annotated[int, typer.Option(min=1, help="Turns; the median counts.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a CPU.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time training steps of DeepLabv3 at width 1 against smp's with group norm, in turns.

    For an environment with segmentation_models_pytorch, torch, torchvision, NumPy, SciPy, MONAI and ignite; typer is
    not needed. Both have ResNet-18, output stride 8, the same pyramid, group norm with 32 groups, logits of the
    image's size, cross-entropy and AdamW, in fp32. As it comes, smp's also has a 3x3 convolution behind the pyramid and
    dropout; the third row is without. It resizes logits by another rule (align_corners).
    """
    compare_steps(recipes, device, repeats, threads, as_json)
