"""A synthetic view as a DICOM file like those of hospitals, with invented identifiers.

Digital Mammography X-Ray Image Storage - For Presentation (PS3.3 A.27, modules C.8.11). Every file's header states that
it is synthetic. Six invented scanners differ like real ones. Neither pixels nor header depend on the machine:
identifiers and dates are derived from the seed.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    RLELossless,
)

from scripts.phantom.view import View

NOTICE = "Synthetic phantom image, not a patient. Not for clinical use."
_VIEW_CODES = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}  # CID 4014
_ORIENTATION = {  # direction of rows, direction of columns
    ("L", "CC"): ["A", "R"],
    ("R", "CC"): ["P", "L"],
    ("L", "MLO"): ["A", "FR"],
    ("R", "MLO"): ["P", "FL"],
}


@dataclass(frozen=True)
class Scanner:
    """Properties of the files that one scanner model writes."""

    model: str
    bits: int
    inverse: bool  # MONOCHROME1
    function: str  # VOI LUT Function; "" omits the attribute, which means LINEAR
    windows: int
    pixel_spacing: bool  # Pixel Spacing in addition to Imager Pixel Spacing
    syntax: UID


SCANNERS = (
    Scanner("Phantom A", 12, False, "LINEAR", 1, False, DeflatedExplicitVRLittleEndian),
    Scanner("Phantom B", 14, True, "LINEAR", 1, True, DeflatedExplicitVRLittleEndian),
    Scanner("Phantom C", 13, False, "SIGMOID", 1, False, DeflatedExplicitVRLittleEndian),
    Scanner("Phantom D", 12, True, "", 1, False, RLELossless),
    Scanner("Phantom E", 12, False, "LINEAR_EXACT", 2, True, ExplicitVRLittleEndian),
    Scanner("Phantom F", 12, False, "", 1, False, DeflatedExplicitVRLittleEndian),
)


def scanner_of(subject: int) -> Scanner:
    """Return the scanner on which a subject (from 0) was imaged."""
    return SCANNERS[subject % len(SCANNERS)]


def stored_values(view: View) -> np.ndarray:
    """Return uint16 (H, W) as stored in the file: full range of the scanner's bits, inverted for MONOCHROME1."""
    scanner = scanner_of(view.subject)
    top = 2**scanner.bits - 1
    values = np.floor(view.picture * top + 0.5).astype(np.uint16)
    return top - values if scanner.inverse else values


def write_dicom(view: View, seed: int, path: Path) -> None:
    """Write the view to `path`; byte-identical each time (deflated files depend on the zlib version)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = _uid(seed, view.subject, view.side, view.view)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid("implementation")
    meta.ImplementationVersionName = "MAMMOSEG_SAMPLE"
    file = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    _who_and_when(file, view, seed)
    _how(file, view)
    _pixels(file, view)
    _window(file, view)
    syntax = scanner_of(view.subject).syntax
    if syntax == RLELossless:
        file.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
    else:
        meta.TransferSyntaxUID = syntax
    file.save_as(path, enforce_file_format=True)


def _uid(*parts: object) -> UID:
    """Return a UID below 2.25 (ISO/IEC 9834-8), the same for equal parts."""
    name = "mammoseg:sample:" + ":".join(map(str, parts))
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, name).int}")


def _code(value: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return Sequence([item])


def _who_and_when(file: Dataset, view: View, seed: int) -> None:
    """Set the patient, study, series, equipment and SOP common modules."""
    number = view.subject + 1
    series = 1 + 2 * "LR".index(view.side) + (view.view == "MLO")
    file.SpecificCharacterSet = "ISO_IR 100"
    file.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    file.SOPInstanceUID = _uid(seed, view.subject, view.side, view.view)
    file.PatientName = f"SYNTHETIC^P{number:03d}"
    file.PatientID = f"SYN-{number:03d}"
    file.PatientBirthDate = f"{1940 + 7 * view.subject % 40}0101"
    file.PatientSex = "F"
    file.StudyInstanceUID = _uid(seed, view.subject)
    file.StudyID = f"{number}"
    file.AccessionNumber = f"SYN{number:05d}"
    file.ReferringPhysicianName = ""
    file.StudyDate = file.SeriesDate = file.AcquisitionDate = file.ContentDate = "20200101"
    file.StudyTime = file.SeriesTime = "090000"
    file.AcquisitionTime = file.ContentTime = f"0900{series:02d}"
    file.StudyDescription = "Synthetic mammography"
    file.Modality = "MG"
    file.PresentationIntentType = "FOR PRESENTATION"
    file.SeriesInstanceUID = _uid(seed, view.subject, view.side, view.view, "series")
    file.SeriesNumber = f"{series}"
    file.SeriesDescription = f"{view.side} {view.view}"
    file.InstanceNumber = "1"
    file.Manufacturer = "mammoseg"
    file.ManufacturerModelName = scanner_of(view.subject).model
    file.DeviceSerialNumber = "0"
    file.SoftwareVersions = "1"
    file.ImageComments = NOTICE


def _how(file: Dataset, view: View) -> None:
    """Set the anatomy, mammography image, positioning, detector and dose modules."""
    spacing = [round(view.spacing, 8)] * 2
    file.ImageType = ["DERIVED", "PRIMARY", ""]
    file.DerivationDescription = NOTICE
    file.ImageLaterality = view.side
    file.ViewPosition = view.view
    file.ViewCodeSequence = _code(*_VIEW_CODES[view.view])
    file.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence()
    file.AnatomicRegionSequence = _code("76752008", "Breast")
    file.PatientOrientation = _ORIENTATION[view.side, view.view]
    file.PositionerType = "MAMMOGRAPHIC"
    file.PositionerPrimaryAngle = "0" if view.view == "CC" else "45"
    file.OrganExposed = file.BodyPartExamined = "BREAST"
    file.BreastImplantPresent = "NO"
    file.PartialView = "NO"
    file.AcquisitionContextSequence = Sequence()
    file.DetectorType = "DIRECT"
    file.ImagerPixelSpacing = spacing
    if scanner_of(view.subject).pixel_spacing:
        file.PixelSpacing = spacing
    file.FieldOfViewHorizontalFlip = "NO"
    file.KVP = "29"
    file.BodyPartThickness = "55"
    file.CompressionForce = "100"
    file.AnodeTargetMaterial = "TUNGSTEN"
    file.FilterMaterial = "RHODIUM"


def _pixels(file: Dataset, view: View) -> None:
    """Set the image pixel and DX image modules."""
    scanner = scanner_of(view.subject)
    file.SamplesPerPixel = 1
    file.PhotometricInterpretation = "MONOCHROME1" if scanner.inverse else "MONOCHROME2"
    file.PresentationLUTShape = "INVERSE" if scanner.inverse else "IDENTITY"
    file.Rows, file.Columns = view.picture.shape
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, scanner.bits, scanner.bits - 1
    file.PixelRepresentation = 0
    file.PixelIntensityRelationship = "LOG"
    file.PixelIntensityRelationshipSign = 1 if scanner.inverse else -1
    file.RescaleIntercept, file.RescaleSlope, file.RescaleType = "0", "1", "US"
    file.LossyImageCompression = "00"
    file.BurnedInAnnotation = "YES"
    file.PixelData = stored_values(view).astype("<u2").tobytes()


def _window(file: Dataset, view: View) -> None:
    """Set the VOI LUT module: the first window covers nearly all breast values; a second one is narrower."""
    scanner = scanner_of(view.subject)
    values = stored_values(view)[view.masks["adipose tissue"]]
    low, high = np.quantile(values, [0.002, 0.999])
    center, width = round((low + high) / 2), round(1.1 * (high - low))
    if scanner.windows == 1:
        file.WindowCenter, file.WindowWidth = f"{center}", f"{width}"
        file.WindowCenterWidthExplanation = "NORMAL"
    else:
        file.WindowCenter, file.WindowWidth = [f"{center}"] * 2, [f"{width}", f"{round(0.7 * width)}"]
        file.WindowCenterWidthExplanation = ["NORMAL", "HARDER"]
    if scanner.function:
        file.VOILUTFunction = scanner.function
