"""Writing of segmentations in the requested formats."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray

from transforms.errors import UserError
from transforms.outputs.formats import DEFAULT_FORMATS, FORMATS, checked_formats
from transforms.outputs.prediction import FINDINGS, Prediction


class SaveSegmentationd(MapTransform):
    """Write label maps of whole images, in the pixel grid of the original file.

    | format | file | what |
    |---|---|---|
    | nifti | `<name>_seg.nii.gz` | label map with pixel spacing, axes (column, row, 1) |
    | png | `<name>_labels.png` | the same as a palette picture whose values are the class numbers |
    | overlay | `<name>_overlay.png` | the image overlaid with its classes, at most 1024 rows |
    | source | `<name>_source.png` | label map in the gray values of the data set's own label images |
    | probabilities | `<name>_prob.nii.gz` | probability of each class, at the working resolution |
    | disagreement | `<name>_disagreement.nii.gz` | disagreement of the members of an ensemble, at full resolution |
    | dicom_seg | `<name>_seg.dcm` | DICOM SEG of a DICOM source; **holds its patient and study attributes** |
    | geojson | `<name>.geojson` | QuPath annotations |
    | findings | `findings.csv` | one row per image: areas, density, largest lesion |

    `d["name"]` is the file's name without suffix, folders included; `d["image"]` is the normalized image (C, h, w);
    `d["spacing_mm"]` is (row, column); `d["disagreement"]` (1, H, W) is that of an ensemble; `d["facts"]`, if present,
    holds the properties of the file from `LoadMammogramd`.
    Except for DICOM SEG, nothing else of the original file is written.

    Args:
        keys: label maps, uint8 (1, H, W).
        output_dir: output folder.
        num_classes: number of classes in the maps.
        formats: formats to write.
        source_values: gray value of each class in the label images of the training data; required by "source".
        labels: name of each class, from 0 on; by default "class 1" and so on.
        algorithm: "network", "stage" and "weights" (path), which DICOM SEG states.
        logits_key: key of the logits that `ArgmaxLiked` kept, if any; "probabilities" requires them, and "geojson" uses
            them for mean probabilities and lesion scores.
        lesions: numbers of the lesion classes; None for those that `transforms.vocabulary` knows.
        min_lesion_score: minimum score of the listed lesions, see `Prediction`.
        workers: threads that write while the next images are segmented; `finish` waits for them. Rows of findings keep
            the order of the images.
        table: file name of the findings table.

    Raises UserError for an unknown format, or one whose requirements are missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        num_classes: int,
        formats: Sequence[str] = DEFAULT_FORMATS,
        source_values: Sequence[int] | None = None,
        labels: Sequence[str] | None = None,
        algorithm: Mapping[str, Any] | None = None,
        logits_key: str | None = None,
        lesions: Sequence[int] | None = None,
        min_lesion_score: float | None = None,
        workers: int = 0,
        table: str = FINDINGS,
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
        self.lesions = None if lesions is None else tuple(lesions)
        self.min_lesion_score = min_lesion_score
        self.table = table
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers) if workers else None
        self._pending: deque[tuple[Prediction, Future[None]]] = deque()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        facts = d.get("facts") or {}
        spacing = tuple(float(v) for v in d["spacing_mm"])
        known = facts.get("spacing_known") != "no"
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
                lesions=self.lesions,
                min_lesion_score=self.min_lesion_score,
                disagreement=_plane(d.get("disagreement")),
                table=self.table,
            )
            if self._pool is None:
                self._write(prediction, self.formats)
                continue
            formats = [name for name in self.formats if name != "findings"]
            self._pending.append((prediction, self._pool.submit(self._write, prediction, formats)))
            while len(self._pending) > self.workers:
                self._settle()
        return d

    def finish(self) -> None:
        """Wait until everything is written.

        Raises:
            UserError: a result cannot be written.
        """
        while self._pending:
            self._settle()

    def _settle(self) -> None:
        """Wait for the earliest image; its row is written last, so that an image with a row has all results."""
        prediction, written = self._pending.popleft()
        written.result()
        self._write(prediction, [name for name in self.formats if name == "findings"])

    def _write(self, prediction: Prediction, formats: Sequence[str]) -> None:
        for name in formats:
            try:
                FORMATS[name].write(prediction)
            except OSError as error:
                reason = error.strerror or error
                raise UserError(
                    f"{self.output_dir}: {name} of {prediction.name} cannot be written ({reason}); "
                    "use --resume true to continue later"
                ) from None


def _plane(values: Any) -> NDArray[np.float32] | None:
    """(1, H, W) → (H, W)."""
    return None if values is None else values[0].cpu().numpy().astype(np.float32)
