"""The formats of results, in one table: name, file ending, writer, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transforms.errors import UserError
from transforms.outputs import dicom_seg, findings, geojson, nifti, png
from transforms.outputs.prediction import Prediction


@dataclass(frozen=True)
class OutputFormat:
    """One format of results.

    Attributes:
        write: writes a segmented image.
        ending: what its file adds to the image's name; None for one table of all images.
        needs_logits: whether it is made from the logits; keeping them takes memory.
    """

    write: Callable[[Prediction], None]
    ending: str | None
    needs_logits: bool = False


FORMATS = {
    "nifti": OutputFormat(nifti.write_nifti, nifti.LABEL_ENDING),
    "png": OutputFormat(png.write_png, png.PNG_ENDING),
    "overlay": OutputFormat(png.write_overlay, png.OVERLAY_ENDING),
    "source": OutputFormat(png.write_source, png.SOURCE_ENDING),
    "probabilities": OutputFormat(nifti.write_probabilities, nifti.PROBABILITY_ENDING, needs_logits=True),
    "disagreement": OutputFormat(nifti.write_disagreement, nifti.DISAGREEMENT_ENDING),
    "dicom_seg": OutputFormat(dicom_seg.write_dicom_seg, dicom_seg.ENDING, needs_logits=True),
    "geojson": OutputFormat(geojson.write_geojson, geojson.ENDING, needs_logits=True),
    "findings": OutputFormat(findings.write_findings, None, needs_logits=True),
}
"""By the name that --formats takes."""

DEFAULT_FORMATS = ("nifti", "png", "overlay")
ENDINGS = {name: entry.ending for name, entry in FORMATS.items() if entry.ending is not None}
"""What each format adds to an image's name."""


def checked_formats(formats: Sequence[str] | str) -> tuple[str, ...]:
    """The formats, each once; a single one may be given as text.

    Raises:
        UserError: there is no such format.
    """
    names = (formats,) if isinstance(formats, str) else tuple(dict.fromkeys(formats))
    if not names:
        raise UserError(f"--formats: none is given; choose from {', '.join(FORMATS)}")
    unknown = sorted(set(names) - FORMATS.keys())
    if unknown:
        raise UserError(f"--formats: there is no {', '.join(unknown)}; there are {', '.join(FORMATS)}")
    return names


def needs_logits(formats: Sequence[str] | str) -> bool:
    """Whether one of the formats is made from the logits; keeping them takes memory.

    Raises:
        UserError: as `checked_formats`.
    """
    return any(FORMATS[name].needs_logits for name in checked_formats(formats))
