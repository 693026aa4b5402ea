"""DICOM SEG: pixels, reference, codes, and attributes copied from the source."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dicom_factory import ramp, write_bare_dicom, write_dicom
from pydicom import dcmread
from pydicom.sr.codedict import codes

from transforms.outputs.dicom_seg import weights_digest, write_dicom_seg
from transforms.outputs.prediction import Prediction
from transforms.vocabulary import CONCEPTS, UNKNOWN, concept

CLASSES = ("background", "tumor", "pectoral muscle", "a class that nobody knows")
SHAPE = (33, 51)  # 1683 pixels: a frame does not end with a byte
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def label_map() -> np.ndarray[Any, Any]:
    label = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)  # class 3 does not occur
    label[0, 0], label[-1, -1] = 1, 2
    return label


def segment(source: Path, **options: Any) -> tuple[np.ndarray[Any, Any], Path]:
    label = label_map()
    options = {"spacing_mm": (0.1, 0.07), "facts": {"path": str(source)}, **options}
    write_dicom_seg(Prediction(label, CLASSES, source.parent / "results", "a", **options))
    return label, source.parent / "results" / "a_seg.dcm"


def write_source(folder: Path, **attributes: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the factory is asked for damaged headers, too
        return write_dicom(folder / "source.dcm", ramp(SHAPE), **attributes)


def read_back(path: Path, uid: str) -> np.ndarray[Any, Any]:
    import highdicom

    segmentation = highdicom.seg.segread(path)
    return segmentation.get_pixels_by_source_instance([uid])[0]  # (rows, columns, segments)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"FrameOfReferenceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.5", "PatientSex": "F"},
        {"SOPClassUID": SECONDARY_CAPTURE, "PatientOrientation": "CC"},
        dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyInstanceUID")),
        {"PatientSex": "X", "StudyTime": "250000", "PatientBirthDate": "unknown"},
    ],
    ids=["MG", "frame of reference", "secondary capture", "nobody", "invalid values"],
)
def test_every_segment_is_read_back_in_the_grid_of_the_source(tmp_path: Path, attributes: dict[str, Any]) -> None:
    source = write_source(tmp_path, **attributes)
    label, path = segment(source)
    image, result = dcmread(source), dcmread(path)
    found = read_back(path, image.SOPInstanceUID)
    for number in (1, 2, 3):
        assert np.array_equal(found[..., number - 1] > 0, label == number)
    assert result.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    assert (result.SegmentationType, result.NumberOfFrames) == ("BINARY", 3)
    assert (result.Rows, result.Columns) == SHAPE
    (reference,) = result.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) == (
        image.SOPClassUID,
        image.SOPInstanceUID,
    )
    assert result.get("FrameOfReferenceUID") == image.get("FrameOfReferenceUID")
    measures = result.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(v) for v in measures.PixelSpacing] == [0.1, 0.07]


def test_segments_say_what_and_who(tmp_path: Path) -> None:
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    _, path = segment(
        write_source(tmp_path), algorithm={"network": "nets.FCN", "stage": "fcn8", "weights": str(weights)}
    )
    result = dcmread(path)
    assert [s.SegmentLabel for s in result.SegmentSequence] == list(CLASSES[1:])
    assert [s.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for s in result.SegmentSequence] == [
        "Neoplasm",
        "Pectoralis major muscle",
        "Tissue",
    ]
    (algorithm,) = result.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "mammoseg"
    assert re.fullmatch(r"\d+\.\d+.*", algorithm.AlgorithmVersion)
    assert algorithm.AlgorithmParameters == "network=FCN,stage=fcn8,weights_sha256=" + weights_digest(str(weights))
    assert result.ManufacturerModelName == "FCN, fcn8"
    assert result.DeviceSerialNumber == weights_digest(str(weights))


def test_lesions_carry_their_scores(tmp_path: Path) -> None:
    source = write_source(tmp_path)
    label = np.zeros(SHAPE, np.uint8)
    label[2:5, 10:14], label[20:22, 30:31], label[0, 0] = 1, 1, 2
    p = np.full((4, *SHAPE), 0.01)
    p[1, 2:5, 10:14], p[1, 20, 30] = 0.6, 0.8
    p[0] += 1 - p.sum(axis=0)
    options: dict[str, Any] = {"spacing_mm": (0.1, 0.07), "facts": {"path": str(source)}}
    write_dicom_seg(Prediction(label, CLASSES, tmp_path, "a", logits=torch.from_numpy(np.log(p)), **options))
    tumor, muscle, _ = dcmread(tmp_path / "a_seg.dcm").SegmentSequence
    assert tumor.SegmentDescription == "Scores of lesions (left,top,width,height): 30,20,1,2: 0.800; 10,2,4,3: 0.600"
    assert "SegmentDescription" not in muscle
    options["min_lesion_score"] = 0.7  # and one that the mask lacks is described by the box of its region
    p[:, 10:12, 3] = np.array([0.24, 0.74, 0.01, 0.01])[:, None]
    write_dicom_seg(Prediction(label, CLASSES, tmp_path, "a", logits=torch.from_numpy(np.log(p)), **options))
    tumor = dcmread(tmp_path / "a_seg.dcm").SegmentSequence[0]
    assert tumor.SegmentDescription == "Scores of lesions (left,top,width,height): 30,20,1,2: 0.800; 3,10,1,2: 0.740"


def test_person_and_study_are_those_of_the_source(tmp_path: Path) -> None:
    source = write_source(tmp_path, SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎")
    result, image = dcmread(segment(source)[1]), dcmread(source)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber"):
        assert result[keyword].value == image[keyword].value
    assert "InstitutionName" not in result
    assert not [element for element in result if element.tag.is_private]


def test_a_name_in_latin_1_without_character_set_is_written_as_utf_8(tmp_path: Path) -> None:
    source = write_source(tmp_path, PatientName="Mueller^Jx")
    source.write_bytes(source.read_bytes().replace(b"Mueller^Jx", b"M\xfcller^J\xf6x"))
    result = dcmread(segment(source)[1])
    assert (result.SpecificCharacterSet, str(result.PatientName)) == ("ISO_IR 192", "Müller^Jöx")


@pytest.mark.parametrize("character_set", [None, "ISO_IR 100", "ISO_IR 192", ["", "ISO 2022 IR 87"]], ids=str)
def test_class_names_keep_their_letters(tmp_path: Path, character_set: Any) -> None:
    stated = {} if character_set is None else {"SpecificCharacterSet": character_set}
    source = write_source(tmp_path, PatientName="PLANTED^NAME", **stated)
    names = ("background", "Drüsengewebe", "乳腺")
    label, folder = label_map(), tmp_path / "results"
    write_dicom_seg(Prediction(label, names, folder, "a", facts={"path": str(source)}))
    result = dcmread(folder / "a_seg.dcm")
    assert tuple(item.SegmentLabel for item in result.SegmentSequence) == names[1:]
    assert str(result.PatientName) == "PLANTED^NAME"


def test_without_spacing_none_is_stated(tmp_path: Path) -> None:
    _, path = segment(write_source(tmp_path), spacing_mm=None)
    assert "PixelMeasuresSequence" not in dcmread(path).SharedFunctionalGroupsSequence[0]


def test_a_data_set_without_preamble(tmp_path: Path) -> None:
    source = write_bare_dicom(tmp_path / "source", ramp(SHAPE))
    label, path = segment(source)
    assert np.array_equal(read_back(path, "1.2.826.0.1.3680043.8.498.77.1")[..., 0] > 0, label == 1)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"SOPInstanceUID": None}, "no valid SOPInstanceUID that a DICOM SEG could refer to"),
        ({"SOPClassUID": "1.2.3.99"}, "no valid SOPClassUID"),
    ],
)
def test_what_cannot_be_referred_to_is_remarked_and_leaves_no_old_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, attributes: dict[str, Any], words: str
) -> None:
    source = write_source(tmp_path, **attributes)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a_seg.dcm").write_bytes(b"of an earlier run")
    _, path = segment(source)
    (record,) = caplog.records
    assert words in record.message
    assert "PLANTED" not in record.message
    assert not path.exists()


def test_sources_that_are_not_dicom_are_remarked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(b"\x89PNG")
    _, path = segment(source)
    assert [record.message for record in caplog.records] == [f"{source}: not DICOM, so no DICOM SEG written"]
    assert not path.exists()


def test_nothing_of_the_header_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """highdicom warns of a name in an old form, and quotes it; at other levels it quotes UIDs."""
    with caplog.at_level(logging.DEBUG):
        segment(write_source(tmp_path, PatientName="PLANTED, NAME"))
    assert caplog.text == ""


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"FrameOfReferenceUID": "1.2.3.4", "PatientOrientation": ["A", "FR"]},
        {"SOPClassUID": SECONDARY_CAPTURE, "PatientOrientation": "CC"},
        dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyInstanceUID")),
    ],
)
def test_an_independent_validator_finds_no_error(tmp_path: Path, attributes: dict[str, Any]) -> None:
    _, path = segment(write_source(tmp_path, **attributes))
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []


def test_codes_are_those_of_dicom() -> None:
    """Every code is in pydicom's copy of the standard's tables with that meaning."""
    listed = {(code.value, code.meaning) for code in (getattr(codes.SCT, name) for name in codes.SCT.dir(""))}
    used = {code for c in (*CONCEPTS.values(), UNKNOWN) for code in (c.category, c.type)}
    assert used - listed == set()


def test_class_names_are_understood_in_their_usual_forms() -> None:
    assert concept("Axillary_lymph-nodes") is CONCEPTS["axillary lymph node"]
    assert concept("calcifications") == concept("Calcification")
    assert concept("MASSES") == concept("mass")
    assert concept("car") == UNKNOWN
