"""Panels: image, truth, prediction and difference, one PNG per subject (as the paper's Figure 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engines.base.world import gathered, is_main, world_size
from transforms.palette import RGB, VOID_COLOUR, class_colours, colour, difference, picture

if TYPE_CHECKING:
    from ignite.engine import Engine


def panel(rows: Sequence[tuple[str, RGB, NDArray[Any], NDArray[Any]]], class_names: Sequence[str]) -> Image.Image:
    """Return one picture with a legend from rows of (title, image RGB, truth, prediction), equal in size per row."""
    count, font, pad = len(class_names), ImageFont.load_default(14), 4
    heads = ("image", "truth", "prediction", "difference")
    strips = [
        np.concatenate(
            [image, colour(truth, class_names), colour(pred, class_names), difference(truth, pred, count)], axis=1
        )
        for _, image, truth, pred in rows
    ]
    line = 20
    width = max(max(s.shape[1] for s in strips), 420)
    void = any((truth >= count).any() for _, _, truth, _ in rows)
    names = [*class_names, *(["void"] if void else [])]
    colours = [*class_colours(class_names), VOID_COLOUR]
    legend_rows = _wrapped(names, font, width)
    height = line * (1 + len(legend_rows)) + sum(s.shape[0] + line for s in strips)
    canvas = Image.new("RGB", (width, height), (24, 24, 24))
    draw = ImageDraw.Draw(canvas)
    y = 0
    for number, head in enumerate(heads):
        draw.text((pad + number * strips[0].shape[1] // 4, y + 2), head, font=font, fill=(255, 255, 255))
    y += line
    for (title, *_), strip in zip(rows, strips, strict=True):
        draw.text((pad, y + 2), title, font=font, fill=(200, 200, 200))
        canvas.paste(Image.fromarray(strip), (0, y + line))
        y += line + strip.shape[0]
    for entries in legend_rows:
        for x, index in entries:
            draw.rectangle((x, y + 5, x + 12, y + 16), fill=colours[index], outline=(180, 180, 180))
            draw.text((x + 17, y + 2), names[index], font=font, fill=(230, 230, 230))
        y += line
    return canvas


def _wrapped(names: Sequence[str], font: Any, width: int) -> list[list[tuple[int, int]]]:
    """Return the legend entries as lines of (x, class index)."""
    lines: list[list[tuple[int, int]]] = [[]]
    x = 4
    for index, name in enumerate(names):
        needed = int(font.getlength(name)) + 32
        if lines[-1] and x + needed > width:
            lines.append([])
            x = 4
        lines[-1].append((x, index))
        x += needed
    return lines


class PanelSaver:
    """Evaluator handler: writes one panel per subject with all its views. The first of several processes writes.

    Needs decollated batches with `subject` and `case` and outputs with `image` (C, h, w), `label` and `pred`
    (1, H, W). Pictures have at most `height` rows.
    """

    def __init__(self, folder: Path, class_names: Sequence[str], height: int = 320) -> None:
        self.folder = Path(folder)
        self.class_names = list(class_names)
        self.height = height
        self._subject: str | None = None
        self._rows: list[tuple[str, RGB, NDArray[Any], NDArray[Any]]] = []
        self._kept: list[tuple[str, Image.Image]] = []

    def attach(self, engine: Engine) -> list[Any]:
        """Register on the evaluator; return the handles by which it can be removed."""
        from ignite.engine import Events  # imports torch.distributed, which a comparison does not need

        return [
            engine.add_event_handler(Events.STARTED, self._clear),
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect),
            engine.add_event_handler(Events.COMPLETED, self._finish),
        ]

    def _clear(self) -> None:
        """Remove the pictures of an earlier run, whose subjects may differ."""
        for old in self.folder.glob("*.png") if is_main() else ():
            old.unlink()

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            if item["subject"] != self._subject:
                self._write()
                self._subject = item["subject"]
            image, truth, pred = shrunk(output, self.height)
            self._rows.append((item["case"], picture(image), truth, pred))

    def _write(self) -> None:
        """Write the subject's panel, or keep it for the one process that writes."""
        if self._rows and self._subject is not None:
            drawn = panel(self._rows, self.class_names)
            if world_size() == 1:
                self._save(self._subject, drawn)
            else:
                self._kept.append((self._subject, drawn))
        self._rows, self._subject = [], None

    def _finish(self) -> None:
        self._write()
        if world_size() > 1:
            for subject, drawn in gathered(self._kept):
                if is_main():
                    self._save(subject, drawn)
        self._kept = []

    def _save(self, subject: str, drawn: Image.Image) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        drawn.save(self.folder / f"{subject}.png", optimize=True)


def shrunk(output: Mapping[str, torch.Tensor], height: int) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any]]:
    """Return image (C, h, w), truth and prediction (h, w) of one output, with at most `height` rows."""
    label = output["label"]
    shrink = min(1.0, height / label.shape[-2])
    size = (round(label.shape[-2] * shrink), max(1, round(label.shape[-1] * shrink)))
    image = F.interpolate(output["image"][None].float(), size=size, mode="bilinear", antialias=True)
    return image[0].cpu().numpy(), _small(label, size), _small(output["pred"], size)


def _small(label: torch.Tensor, size: tuple[int, int]) -> NDArray[Any]:
    return F.interpolate(label[None].cpu(), size=size, mode="nearest-exact")[0, 0].numpy()
