"""Synthetic DICOM mammograms for tests: every attribute can be set, and every identifier is planted.

`PLANTED` holds texts in the headers written here that must not occur in any output.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

FOR_PRESENTATION = UID("1.2.840.10008.5.1.4.1.1.1.2")
PLANTED = (
    "PLANTED^NAME",
    "PLANTED-ID",
    "PLANTEDACC",
    "PLANTED HOSPITAL",
    "PLANTED PRIVATE",
    "1.2.826.0.1.3680043.8.498.77",
    "19501231",
    "20190517",
)


def ramp(shape: tuple[int, int] = (64, 96), bits: int = 12) -> np.ndarray[Any, Any]:
    """Values 0, 1, 2, … modulo 2^bits along the rows."""
    return (np.arange(shape[0] * shape[1]) % 2**bits).reshape(shape).astype(np.uint16)


def lut_item(table: Sequence[int], first: int = 0, bits: int = 12) -> Dataset:
    """An item of a VOI or modality LUT sequence."""
    item = Dataset()
    item.add_new(0x00283002, "US" if first >= 0 else "SS", [len(table) % 2**16, first, bits])
    item.add_new(0x00283006, "US", list(table))
    return item


def mammogram_header(pixels: np.ndarray[Any, Any], bits: int = 12, **attributes: Any) -> FileDataset:
    """A header with only the pixel description and planted identifiers, plus `attributes` by keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = FOR_PRESENTATION
    meta.MediaStorageSOPInstanceUID = UID("1.2.826.0.1.3680043.8.498.77.1")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    header.PatientName, header.PatientID, header.PatientBirthDate = "PLANTED^NAME", "PLANTED-ID", "19501231"
    header.StudyDate, header.AccessionNumber = "20190517", "PLANTEDACC"
    header.InstitutionName, header.StudyInstanceUID = "PLANTED HOSPITAL", "1.2.826.0.1.3680043.8.498.77.2"
    header.private_block(0x0013, "PLANTED PRIVATE", create=True).add_new(1, "LO", "PLANTED PRIVATE")
    header.Modality, header.PresentationIntentType = "MG", "FOR PRESENTATION"
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Rows, header.Columns = pixels.shape[:2]
    header.BitsAllocated = 8 * pixels.dtype.itemsize
    header.BitsStored, header.HighBit = bits, bits - 1
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.PixelData = pixels.tobytes()
    header["PixelData"].VR = "OB" if header.BitsAllocated == 8 else "OW"
    for keyword, value in attributes.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, DicomSequence(value) if keyword.endswith("Sequence") else value)
    return header


def write_dicom(path: Path, pixels: np.ndarray[Any, Any], bits: int = 12, **attributes: Any) -> Path:
    """Write a mammogram and return its path. `attributes`: DICOM keywords; None removes one."""
    header = mammogram_header(pixels, bits, **attributes)
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def write_bare_dicom(path: Path, pixels: np.ndarray[Any, Any], bits: int = 12, **attributes: Any) -> Path:
    """Write a data set without preamble and file meta information, as in old archives."""
    header = mammogram_header(pixels, bits, **attributes)
    bare = Dataset()
    bare.update({element.tag: element for element in header})
    bare.save_as(path, implicit_vr=ImplicitVRLittleEndian.is_implicit_VR, little_endian=True)
    return path


def new_uid() -> UID:
    """A UID below the planted root."""
    return UID(generate_uid(prefix="1.2.826.0.1.3680043.8.498.77."))


def compress_dicom(path: Path, out: Path, syntax: str) -> Path:
    """The same image with its pixels compressed by GDCM's encoder of that transfer syntax."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(out))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return out
