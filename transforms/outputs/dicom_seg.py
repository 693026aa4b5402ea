"""Segmentations as DICOM SEG, which archives and viewers overlay on the source mammogram.

Source: PS3.3 A.51 (Segmentation IOD), written by highdicom (Bridge et al., J Digit Imaging 2022). This is the only
output that identifies the patient: a SEG is part of a study, and has the patient and study attributes of its source.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from transforms.atomic_write import atomic_file
from transforms.errors import UserError
from transforms.outputs.dicom_source import read_source
from transforms.outputs.found_lesions import box_of
from transforms.outputs.prediction import Prediction
from transforms.palette import PALETTE
from transforms.plain_text import one_line
from transforms.reading.dicom import is_dicom, quiet
from transforms.vocabulary import BREAST, Code, concept

logger = logging.getLogger("mammoseg")

ENDING = "_seg.dcm"
SERIES_NUMBER = 9900
NOMINAL_THICKNESS_MM = 1.0


def write_dicom_seg(prediction: Prediction) -> None:
    """Write `<name>_seg.dcm`: a binary segment per class except background, in the pixel grid of the source.

    The number of a segment is that of its class, and a class that does not occur has an empty frame. For a source that
    is not DICOM, or that cannot be referenced, a warning is logged and no file is written.
    """
    path = Path(prediction.facts.get("path", ""))
    if not path.is_file() or not is_dicom(path):
        source = one_line(prediction.facts.get("path") or prediction.name)
        logger.warning("%s: not DICOM, so no DICOM SEG written", source)
        return
    target = prediction.path(ENDING)
    target.unlink(missing_ok=True)  # so that the file of an earlier run does not remain after a failure
    try:
        segmentation = make_segmentation(prediction, path)
        with quiet(), atomic_file(target) as part:
            segmentation.save_as(part, enforce_file_format=True)
    except UserError as error:
        logger.warning("%s; no DICOM SEG written", error)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # messages of the libraries may quote headers
        kind = type(error).__name__
        logger.warning("%s: no DICOM SEG written (%s): its header is not valid DICOM", one_line(path), kind)


def make_segmentation(prediction: Prediction, path: Path) -> Any:
    """The `highdicom.seg.Segmentation` of a prediction that was made from the DICOM file `path`.

    Raises:
        UserError: as `read_source`.
    """
    import highdicom as hd

    source = read_source(path, (prediction.label.shape[0], prediction.label.shape[1]), prediction.classes[1:])
    spacing = prediction.spacing_mm
    stage = str(prediction.algorithm.get("stage", ""))
    with quiet():
        segmentation = hd.seg.Segmentation(
            source_images=[source],
            pixel_array=prediction.label,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=list(_segments(prediction)),
            series_instance_uid=hd.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="mammoseg",
            manufacturer_model_name=_long_string(_network(prediction) + (f", {stage}" if stage else "")),
            software_versions=_version(),
            device_serial_number=weights_digest(prediction.algorithm.get("weights")),
            content_label="SEGMENTATION",
            content_description="Automatic segmentation, research use only",
            series_description="Segmentation by mammoseg, research use only",
            pixel_measures=None if spacing is None else _pixel_measures(spacing),
            omit_empty_frames=False,
            specific_character_set=None,  # set below from the source, since highdicom does not support all forms
        )
        if "SpecificCharacterSet" in source:
            segmentation.SpecificCharacterSet = source.SpecificCharacterSet
        segmentation.PatientOrientation = source.PatientOrientation
        segmentation.ContentCreatorName = None  # type 2: present, and empty
    return segmentation


def _segments(prediction: Prediction) -> Iterator[Any]:
    import highdicom as hd

    algorithm = hd.AlgorithmIdentificationSequence(
        name="mammoseg",
        family=hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
        version=_version(),
        source="mammoseg",
        parameters={
            "network": _network(prediction),
            "stage": str(prediction.algorithm.get("stage", "")),
            "weights_sha256": weights_digest(prediction.algorithm.get("weights")),
        },
    )
    for number, name in enumerate(prediction.classes[1:], start=1):
        kind = concept(name)
        segment = hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=_long_string(name),
            segmented_property_category=_coded(kind.category),
            segmented_property_type=_coded(kind.type),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            anatomic_regions=[_coded(BREAST)],
            display_color=hd.color.CIELabColor.from_rgb(*PALETTE[number % len(PALETTE)]),
        )
        scores = _scores(prediction, number)
        if scores:
            segment.SegmentDescription = scores
        yield segment


def _scores(prediction: Prediction, label: int) -> str:
    """Box (left, top, width, height) and score of each lesion, highest first; "" without lesions. At most 1024 (ST).

    A lesion of several classes has a box in each; one without pixels has that of its candidate.
    """
    texts = []
    for lesion in prediction.found_lesions:
        own = [region for region in lesion.regions if region.label == label]
        if lesion.score is not None and (own or (not lesion.regions and lesion.label == label)):
            top, left, bottom, right = box_of(own) if own else lesion.box
            texts.append(f"{left},{top},{right - left},{bottom - top}: {lesion.score:.3f}")
    text = f"Scores of lesions (left,top,width,height): {'; '.join(texts)}"
    return "" if not texts else text if len(text) <= 1024 else text[:1020] + " ..."


def _pixel_measures(spacing_mm: tuple[float, float]) -> Any:
    """Pixel measures with the spacing (row, column) and a nominal slice thickness.

    A projection has no slices, but highdicom reads no SEG without SliceThickness, and 3-D viewers need one above 0.
    """
    import highdicom as hd

    spacing = [float(f"{value:.9g}") for value in spacing_mm]  # a value of DS has at most 16 characters
    return hd.PixelMeasuresSequence(pixel_spacing=spacing, slice_thickness=NOMINAL_THICKNESS_MM)


def _coded(code: Code) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(code[0], "SCT", code[1])


def _network(prediction: Prediction) -> str:
    return str(prediction.algorithm.get("network", "")).rpartition(".")[2] or "unknown network"


def _long_string(text: str) -> str:
    """The text as a value of VR LO: at most 64 characters, no backslash."""
    return text.replace("\\", "/").strip()[:64]


def _version() -> str:
    try:
        return version("mammoseg")
    except PackageNotFoundError:  # a shared bundle carries the code without installing it
        return "unknown"


def weights_digest(weights: str | Sequence[str] | None) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the weights file; "unknown" without one.

    For an ensemble, the SHA-256 of the files' digests, in order.

    Written as the device's serial number (type 1 in PS3.3 C.7.5.2), it identifies the weights that made a SEG.
    """
    files = [Path(path) for path in ([weights] if isinstance(weights, str) else weights or ())]
    if not files or not all(path.is_file() for path in files):
        return "unknown"
    digests = [_file_sha256(path) for path in files]
    return (digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest())[:16]


@lru_cache(maxsize=16)
def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
