"""The result formats, in one table: name, file ending, writer and requirements."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from transforms.errors import UserError
from transforms.outputs import dicom_seg, findings, geojson, nifti, png
from transforms.outputs.prediction import Prediction


@dataclass(frozen=True)
class OutputFormat:
    """One result format.

    Attributes:
        write: function that writes a segmented image.
        ending: ending that is appended to the image's name; None for a single table of all images.
        needs_logits: whether the format is made from the logits, which take memory.
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
"""Formats by their names in --formats."""

DEFAULT_FORMATS = ("nifti", "png", "overlay")
ENDINGS = {name: entry.ending for name, entry in FORMATS.items() if entry.ending is not None}
"""Ending that each format appends to an image's name."""


def checked_formats(formats: Sequence[str] | str) -> tuple[str, ...]:
    """The unique formats; a single one may be given as text.

    Raises:
        UserError: an unknown format, or none.
    """
    if not isinstance(formats, (str, Collection)):
        raise UserError(f"--formats {formats}: expected a list such as ['nifti','png']")
    names = (formats,) if isinstance(formats, str) else tuple(dict.fromkeys(map(str, formats)))
    if not names:
        raise UserError(f"--formats: none specified; choose from {', '.join(FORMATS)}")
    unknown = sorted(set(names) - FORMATS.keys())
    if unknown:
        raise UserError(f"--formats: unknown {', '.join(unknown)}; choose from {', '.join(FORMATS)}")
    return names


def needs_logits(formats: Sequence[str] | str) -> bool:
    """Whether one of the formats is made from the logits, which take memory.

    Raises:
        UserError: as `checked_formats`.
    """
    return any(FORMATS[name].needs_logits for name in checked_formats(formats))
