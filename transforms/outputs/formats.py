"""Write segmentations in the formats that were asked for, one writer each in `transforms.outputs`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from transforms.errors import UserError
from transforms.outputs.dicom_seg import write_dicom_seg
from transforms.outputs.findings import write_findings
from transforms.outputs.geojson import write_geojson
from transforms.outputs.nifti import write_nifti, write_probabilities
from transforms.outputs.png import write_overlay, write_png, write_source
from transforms.outputs.prediction import Prediction

WRITERS: dict[str, Callable[[Prediction], None]] = {
    "nifti": write_nifti,
    "png": write_png,
    "overlay": write_overlay,
    "source": write_source,
    "probabilities": write_probabilities,
    "dicom_seg": write_dicom_seg,
    "geojson": write_geojson,
    "findings": write_findings,
}
FORMATS = tuple(WRITERS)
_OF_LOGITS = {"probabilities", "geojson"}


class SaveSegmentationd(MapTransform):
    """Write label maps of whole images, in the pixel grid of the original file.

    | format | file | what |
    |---|---|---|
    | nifti | `<name>_seg.nii.gz` | label map with pixel spacing, axes (column, row, 1) |
    | png | `<name>_labels.png` | the same as a palette picture whose values are the class numbers |
    | overlay | `<name>_overlay.png` | the image with its classes over it, at most 1024 rows |
    | source | `<name>_source.png` | label map in the grey values of the data set's own label images |
    | probabilities | `<name>_prob.nii.gz` | probability of each class, at the working resolution |
    | dicom_seg | `<name>_seg.dcm` | DICOM SEG of a DICOM source; **holds its patient and study attributes** |
    | geojson | `<name>.geojson` | QuPath annotations |
    | findings | `findings.csv` | a row for each image: areas, density, largest lesion |

    `d["name"]` is the file's name without suffix, folders included; `d["image"]` is the normalised image
    (C, h, w), `d["spacing_mm"]` (row, column), and `d["facts"]`, where it is there, what `LoadMammogramd` found out.
    But for DICOM SEG, nothing else of the original file is written.

    Args:
        keys: label maps, uint8 (1, H, W).
        output_dir: folder for the files.
        num_classes: classes in the maps.
        formats: which of them to write.
        source_values: grey value of each class in the label images that were learned from; "source" needs them.
        labels: name of each class, from 0 on; by default "class 1" and so on.
        algorithm: "network", "stage" and "weights" (path), which DICOM SEG states.
        logits_key: where `ArgmaxLiked` left the logits, if it did; "probabilities" needs them, and "geojson" states
            mean probabilities with them.

    Raises UserError for an unknown format, or one that needs what is not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        num_classes: int,
        formats: Sequence[str] = FORMATS[:3],
        source_values: Sequence[int] | None = None,
        labels: Sequence[str] | None = None,
        algorithm: Mapping[str, Any] | None = None,
        logits_key: str | None = None,
    ) -> None:
        super().__init__(keys)
        self.formats = checked_formats(formats)
        if "source" in self.formats and source_values is None:
            raise UserError("--formats: source needs a model whose data set was made from label images")
        self.output_dir = Path(output_dir)
        self.source_values = None if source_values is None else tuple(source_values)
        self.labels = tuple(labels or ["background", *(f"class {i}" for i in range(1, num_classes))])
        self.algorithm = dict(algorithm or {})
        self.logits_key = logits_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        facts = d.get("facts") or {}
        spacing = tuple(float(v) for v in d["spacing_mm"])
        known = facts.get("spacing_source") != "none"
        for key in self.key_iterator(d):
            prediction = Prediction(
                label=d[key][0].cpu().numpy().astype(np.uint8),
                classes=self.labels,
                folder=self.output_dir,
                name=d["name"],
                spacing_mm=(spacing[0], spacing[1]) if known else None,
                image=d.get("image"),
                logits=None if self.logits_key is None else d.get(self.logits_key),
                facts=facts,
                algorithm=self.algorithm,
                source_values=self.source_values,
            )
            for name in self.formats:
                try:
                    WRITERS[name](prediction)
                except OSError as error:
                    reason = error.strerror or error
                    raise UserError(
                        f"{self.output_dir}: {name} of {prediction.name} cannot be written ({reason}); "
                        "with --resume true the rest can be done later"
                    ) from None
        return d


def checked_formats(formats: Sequence[str] | str) -> tuple[str, ...]:
    """The formats, each once; a single one may be given as text.

    Raises:
        UserError: there is no such format.
    """
    names = (formats,) if isinstance(formats, str) else tuple(dict.fromkeys(formats))
    unknown = sorted(set(names) - set(FORMATS))
    if unknown:
        raise UserError(f"--formats: there is no {', '.join(unknown)}; there are {', '.join(FORMATS)}")
    return names


def needs_logits(formats: Sequence[str] | str) -> bool:
    """Whether one of the formats is made from the logits; keeping them takes memory.

    Raises:
        UserError: as `checked_formats`.
    """
    return not _OF_LOGITS.isdisjoint(checked_formats(formats))
