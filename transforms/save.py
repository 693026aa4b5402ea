"""Write a predicted label map: NIfTI, indexed PNG and a picture to look at."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from PIL import Image

from transforms.errors import UserError
from transforms.palette import PALETTE, overlay, picture

FORMATS = ("nifti", "png", "overlay", "source")


class SaveSegmentationd(MapTransform):
    """Write label maps of whole images, in the pixel grid of the original file.

        <name>_seg.nii.gz    label map with pixel spacing, NIfTI axes (column, row, 1), by nibabel
        <name>_labels.png    the same as a palette picture whose values are the class numbers
        <name>_source.png    label map in the grey values of the data set's own label images, e.g. Cityscapes' ids
        <name>_overlay.png   the image with its classes over it, at most `overlay_height` rows

    `d["name"]` is the file's name without suffix, folders included; `d["image"]` is the normalised image
    (C, h, w), `d["spacing_mm"]` (row, column). Nothing else of the original file is written.

    Args:
        keys: label maps, uint8 (1, H, W).
        output_dir: folder for the files.
        num_classes: classes in the maps.
        formats: which of `FORMATS` to write.
        source_values: grey value of each class in the label images that were learned from; "source" needs them.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        num_classes: int,
        formats: Sequence[str] = FORMATS[:3],
        source_values: Sequence[int] | None = None,
        overlay_height: int = 1024,
    ) -> None:
        super().__init__(keys)
        unknown = set(formats) - set(FORMATS)
        if unknown:
            raise UserError(f"--formats: there is no {', '.join(sorted(unknown))}; there are {', '.join(FORMATS)}")
        if "source" in formats and source_values is None:
            raise UserError("--formats: source needs a model whose data set was made from label images")
        self.output_dir = Path(output_dir)
        self.num_classes = num_classes
        self.formats = tuple(formats)
        self.source_values = np.arange(256) if source_values is None else np.asarray(source_values)
        self.overlay_height = overlay_height

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            label = d[key][0].cpu().numpy().astype(np.uint8)
            base = self.output_dir / d["name"]
            base.parent.mkdir(parents=True, exist_ok=True)
            if "nifti" in self.formats:
                save_nifti(label, d["spacing_mm"], base.with_name(base.name + "_seg.nii.gz"))
            if "png" in self.formats:
                save_indexed_png(label, base.with_name(base.name + "_labels.png"))
            if "source" in self.formats:
                values = self.source_values.astype(np.uint8)[label]
                _save_whole(Image.fromarray(values), base.with_name(base.name + "_source.png"))
            if "overlay" in self.formats:
                self._save_overlay(d["image"], label, base.with_name(base.name + "_overlay.png"))
        return d

    def _save_overlay(self, image: torch.Tensor, label: NDArray[np.uint8], path: Path) -> None:
        rows, columns = label.shape
        shrink = min(1.0, self.overlay_height / rows)
        size = (max(1, round(rows * shrink)), max(1, round(columns * shrink)))
        small = F.interpolate(image[None].float(), size=size, mode="bilinear", antialias=True)[0]
        classes = F.interpolate(torch.from_numpy(label)[None, None], size=size, mode="nearest-exact")[0, 0]
        _save_whole(Image.fromarray(overlay(picture(small.cpu().numpy()), classes.numpy(), self.num_classes)), path)


def save_nifti(label: NDArray[np.uint8], spacing_mm: Sequence[float], path: Path) -> None:
    """Label map (H, W) → NIfTI of shape (W, H, 1); spacing (row, column) in mm, left-posterior axes as in DICOM."""
    row, column = (float(v) for v in spacing_mm)
    image = nib.Nifti1Image(label.T[..., None], np.diag([-column, -row, 1.0, 1.0]))
    image.header.set_xyzt_units("mm")
    part = path.with_name("part-" + path.name)
    nib.save(image, part)
    part.replace(path)


def save_indexed_png(label: NDArray[np.uint8], path: Path) -> None:
    """Label map (H, W) → palette PNG whose pixel values are the class numbers."""
    image = Image.fromarray(label)
    image.putpalette([value for colour in PALETTE for value in colour])
    _save_whole(image, path)


def _save_whole(image: Image.Image, path: Path) -> None:
    part = path.with_name("part-" + path.name)
    image.save(part, format="PNG")
    part.replace(path)
