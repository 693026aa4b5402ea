"""Polarity, windows, bit depth and geometry of DICOM mammograms."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import PLANTED, lut_item, ramp, write_bare_dicom, write_dicom
from pydicom.dataset import Dataset

from transforms.reading.mammogram import Mammogram, read_mammogram


def read(path: Path, pixels: np.ndarray, windowing: str = "voi", bits: int = 12, **attributes) -> Mammogram:
    return read_mammogram(write_dicom(path / "image.dcm", pixels, bits, **attributes), windowing)


def test_twelve_bit_ramp_keeps_its_4096_levels(tmp_path) -> None:
    image = read(tmp_path, ramp())
    np.testing.assert_array_equal(image.pixels, ramp())
    assert image.pixels.dtype == np.uint16
    assert image.intensity_range == (0, 4095)
    assert np.unique(image.pixels).size == 4096


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2048, "WindowWidth": 4096}], ids=["none", "full"])
@pytest.mark.parametrize("reader", ["", "ITKReader", "PydicomReader", "no itk"])
def test_monochrome1_equals_its_monochrome2_twin_whatever_reader_monai_prefers(
    tmp_path, monkeypatch, window, reader
) -> None:
    if reader == "no itk":
        monkeypatch.setitem(sys.modules, "itk", None)
    elif reader:
        monkeypatch.setenv("MONAI_DICOM_READER", reader)
    plain = read(tmp_path, ramp(), **window)
    negative = read(tmp_path, 4095 - ramp(), PhotometricInterpretation="MONOCHROME1", **window)
    np.testing.assert_array_equal(plain.pixels, negative.pixels)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_monochrome1_twin_with_a_mirrored_window(tmp_path, function) -> None:
    centre = 4095 - 1700 + (1 if function == "LINEAR" else 0)  # LINEAR is centered half a value lower
    plain = read(tmp_path, ramp(), WindowCenter=1700, WindowWidth=900, VOILUTFunction=function)
    negative = read(
        tmp_path,
        4095 - ramp(),
        WindowCenter=centre,
        WindowWidth=900,
        VOILUTFunction=function,
        PhotometricInterpretation="MONOCHROME1",
    )
    np.testing.assert_array_equal(plain.pixels, negative.pixels)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME2", None, False),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", False),
    ],
)
def test_exactly_one_inversion(tmp_path, photometric, shape, inverted) -> None:
    attributes = {"PhotometricInterpretation": photometric}
    if shape:
        attributes["PresentationLUTShape"] = shape
    image = read(tmp_path, ramp(), **attributes)
    np.testing.assert_array_equal(image.pixels, 4095 - ramp() if inverted else ramp())


@pytest.mark.parametrize(("sign", "inverted"), [(1, True), (-1, False)])
def test_for_processing_follows_the_sign_of_the_x_ray_intensity(tmp_path, sign, inverted) -> None:
    image = read(
        tmp_path,
        ramp(),
        PresentationIntentType="FOR PROCESSING",
        PixelIntensityRelationshipSign=sign,
        PhotometricInterpretation="MONOCHROME2",
    )
    np.testing.assert_array_equal(image.pixels, 4095 - ramp() if inverted else ramp())


# Computed by hand from PS3.3 C.11.2.1.2 and C.11.2.1.3 for center 2048, width 1025, output 0 … 4095
GOLDEN = {
    "LINEAR": {0: 0, 1535: 0, 1536: 2, 2047: 2046, 2048: 2049, 2559: 4093, 2560: 4095, 4095: 4095},
    "LINEAR_EXACT": {0: 0, 1535: 0, 1536: 2, 2048: 2048, 2560: 4093, 2561: 4095, 4095: 4095},
    "SIGMOID": {0: 1, 1536: 489, 2048: 2048, 2560: 3606, 4095: 4094},
}


@pytest.mark.parametrize("function", GOLDEN)
def test_windows_against_the_standard(tmp_path, function) -> None:
    pixels = np.array([list(GOLDEN[function])], np.uint16)
    image = read(tmp_path, pixels, WindowCenter=2048, WindowWidth=1025, VOILUTFunction=function)
    assert image.pixels.tolist() == [list(GOLDEN[function].values())]
    assert image.intensity_source == f"window 1 of 1 ({function})"


def test_first_of_several_windows_and_none_on_request(tmp_path) -> None:
    windows = {"WindowCenter": [100, 2048], "WindowWidth": [11, 4096]}
    pixels = np.array([[0, 94, 100, 105, 4000]], np.uint16)
    image = read(tmp_path, pixels, **windows)
    assert image.pixels.tolist() == [[0, 0, 2252, 4095, 4095]]  # ((100 - 99.5)/10 + 0.5) * 4095 = 2252.25
    assert image.intensity_source == "window 1 of 2 (LINEAR)"
    np.testing.assert_array_equal(read(tmp_path, pixels, "none", **windows).pixels, pixels)


def test_voi_lut_wins_over_the_window_and_gives_its_own_depth(tmp_path) -> None:
    pixels = np.array([[0, 9, 10, 11, 12, 4000]], np.uint16)
    image = read(
        tmp_path,
        pixels,
        VOILUTSequence=[lut_item([5, 500, 1000], first=10, bits=10)],
        WindowCenter=2048,
        WindowWidth=4096,
    )
    assert image.pixels.tolist() == [[5, 5, 5, 500, 1000, 1000]]
    assert image.intensity_range == (0, 1023)
    assert image.intensity_source == "VOI LUT 1 of 1"


def test_eight_bit_lut_of_more_than_256_entries(tmp_path) -> None:
    table = [entry // 16 for entry in range(4096)]
    image = read(tmp_path, ramp(), VOILUTSequence=[lut_item(table, bits=8)])
    np.testing.assert_array_equal(image.pixels, ramp() // 16)
    assert image.pixels.dtype == np.uint8
    assert image.intensity_range == (0, 255)


def test_order_is_modality_then_window_then_inversion(tmp_path) -> None:
    # modality: 2 x - 1000; window LINEAR_EXACT 0 … 1000; inverted
    pixels = np.array([[0, 500, 750, 1000, 4095]], np.uint16)
    image = read(
        tmp_path,
        pixels,
        RescaleSlope=2,
        RescaleIntercept=-1000,
        WindowCenter=500,
        WindowWidth=1000,
        VOILUTFunction="LINEAR_EXACT",
        PhotometricInterpretation="MONOCHROME1",
    )
    assert image.pixels.tolist() == [[4095, 4095, 2048, 0, 0]]


def test_rescale_alone_loses_nothing_and_a_negative_slope_turns_the_image(tmp_path) -> None:
    rescaled = read(tmp_path, ramp(), RescaleSlope=0.25, RescaleIntercept=-17.5)
    np.testing.assert_array_equal(rescaled.pixels, ramp())
    turned = read(tmp_path, ramp(), RescaleSlope=-1, RescaleIntercept=4095)
    np.testing.assert_array_equal(turned.pixels, 4095 - ramp())


def test_window_after_a_negative_slope_keeps_low_values_dark(tmp_path) -> None:
    image = read(tmp_path, ramp(), RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096)
    np.testing.assert_array_equal(image.pixels, 4095 - ramp())


def test_twelve_bit_modality_lut(tmp_path) -> None:
    image = read(tmp_path, ramp(), ModalityLUTSequence=[lut_item(list(range(4095, -1, -1)))])
    np.testing.assert_array_equal(image.pixels, 4095 - ramp())


def test_signed_pixels(tmp_path) -> None:
    signed = ramp().astype(np.int16) - 2048
    image = read(tmp_path, signed)
    np.testing.assert_array_equal(image.pixels, ramp())
    windowed = read(tmp_path, signed, WindowCenter=0, WindowWidth=4096)
    np.testing.assert_array_equal(windowed.pixels, ramp())


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (10, np.uint16), (14, np.uint16), (16, np.uint16)])
def test_every_bit_depth(tmp_path, bits, dtype) -> None:
    pixels = ramp((200, 400), bits).astype(dtype)
    image = read(tmp_path, pixels, bits=bits)
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.pixels.dtype == dtype
    assert image.intensity_range == (0, 2**bits - 1)


def test_padding_is_black_in_both_polarities(tmp_path) -> None:
    pixels = np.array([[4095, 4095, 10, 2000]], np.uint16)
    plain = read(tmp_path, pixels, PixelPaddingValue=4095)
    assert plain.pixels.tolist() == [[0, 0, 10, 2000]]
    turned = read(tmp_path, pixels, PixelPaddingValue=4095, PhotometricInterpretation="MONOCHROME1")
    assert turned.pixels.tolist() == [[0, 0, 4085, 2095]]
    ranged = read(tmp_path, pixels, PixelPaddingValue=4095, PixelPaddingRangeLimit=2000)
    assert ranged.pixels.tolist() == [[0, 0, 10, 0]]


def test_percentile_window_ignores_padding(tmp_path) -> None:
    pixels = np.full((100, 100), 4095, np.uint16)
    pixels[:, :50] = np.arange(5000).reshape(100, 50) % 1000 + 1000
    image = read(tmp_path, pixels, "percentile", PixelPaddingValue=4095)
    assert image.pixels[:, 50:].max() == 0
    assert image.pixels[:, :50].min() == 0
    assert image.pixels[:, :50].max() == 4095
    assert image.intensity_range == (0, 4095)


def test_rows_and_columns_are_not_exchanged(tmp_path) -> None:
    pixels = np.zeros((40, 70), np.uint16)
    pixels[3, 60] = 1000
    image = read(tmp_path, pixels)
    assert image.pixels.shape == (40, 70)
    assert np.argwhere(image.pixels).tolist() == [[3, 60]]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"ImageLaterality": "L", "Laterality": "R", "ViewPosition": "MLO"}, ("L", "MLO")),
        ({"Laterality": "R", "ViewPosition": "CC"}, ("R", "CC")),
        ({"FrameLaterality": "R"}, ("R", None)),
        ({"Laterality": "L", "PatientOrientation": "CC"}, ("L", "CC")),  # as in CBIS-DDSM
        ({"Laterality": "B", "ViewPosition": "SOMETHING"}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_side_and_view(tmp_path, attributes, expected) -> None:
    image = read(tmp_path, ramp(), **attributes)
    assert (image.laterality, image.view) == expected


@pytest.mark.parametrize(("code", "view"), [("399368009", "MLO"), ("R-10242", "CC"), ("399260004", "ML")])
def test_view_code_replaces_view_position(tmp_path, code, view) -> None:
    item = Dataset()
    item.CodeValue = code
    assert read(tmp_path, ramp(), ViewCodeSequence=[item], ViewPosition="LM").view == view


def test_side_and_view_from_the_file_name(tmp_path) -> None:
    image = read_mammogram(write_dicom(tmp_path / "case 7.RIGHT_MLO.dcm", ramp()))
    assert (image.laterality, image.view) == ("R", "MLO")


@pytest.mark.parametrize(
    ("attributes", "spacing", "source"),
    [
        ({}, None, "none"),
        ({"PixelSpacing": [0.05, 0.06]}, (0.05, 0.06), "PixelSpacing"),
        ({"ImagerPixelSpacing": [0.07, 0.08]}, (0.07, 0.08), "ImagerPixelSpacing"),
        (
            {"ImagerPixelSpacing": [0.1, 0.1], "EstimatedRadiographicMagnificationFactor": 1.25},
            (0.08, 0.08),
            "ImagerPixelSpacing/magnification",
        ),
        (
            {"ImagerPixelSpacing": [0.1, 0.1], "DistanceSourceToDetector": 660, "DistanceSourceToPatient": 600},
            (0.1 / 1.1, 0.1 / 1.1),
            "ImagerPixelSpacing/magnification",
        ),
        ({"PixelSpacing": [0.06, 0.06], "ImagerPixelSpacing": [0.07, 0.07]}, (0.06, 0.06), "PixelSpacing"),
        (
            {"PixelSpacing": [0.07, 0.07], "ImagerPixelSpacing": [0.07, 0.07]},
            (0.07, 0.07),
            "ImagerPixelSpacing",
        ),
        ({"PixelSpacing": [0, 0]}, None, "none"),
        ({"NominalScannedPixelSpacing": [0.05, 0.05]}, (0.05, 0.05), "NominalScannedPixelSpacing"),
    ],
)
def test_spacing_and_where_it_comes_from(tmp_path, attributes, spacing, source) -> None:
    image = read(tmp_path, ramp(), **attributes)
    assert image.spacing_mm == pytest.approx(spacing) if spacing else image.spacing_mm is None
    assert image.spacing_source == source


@pytest.mark.parametrize(("stated", "expected"), [("YES", True), ("NO", False), (None, None)])
def test_burned_in_annotation(tmp_path, stated, expected) -> None:
    assert read(tmp_path, ramp(), **({"BurnedInAnnotation": stated} if stated else {})).burned_in is expected


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        ({}, {"acquisition": "digital", "presentation": "presentation"}),
        (
            {"Manufacturer": "HOLOGIC, Inc.", "PatientAge": "047Y", "PresentationIntentType": "FOR PROCESSING"},
            {"manufacturer": "hologic", "acquisition": "digital", "presentation": "processing", "age": "40-49"},
        ),
        (
            {"Manufacturer": "PLANTED HOSPITAL", "DetectorType": "STORAGE", "PatientAge": "011M"},
            {"manufacturer": "other", "acquisition": "computed radiography", "presentation": "presentation"},
        ),
        (
            {"ConversionType": "DF", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "PatientAge": "103Y"},
            {"acquisition": "film", "presentation": "presentation", "age": "70 or older"},
        ),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, {"presentation": "presentation"}),
    ],
)
def test_what_it_can_be_grouped_by_is_of_fixed_terms(tmp_path, stated, found) -> None:
    assert read(tmp_path, ramp(), **stated).attributes == found


def test_without_preamble_and_without_suffix(tmp_path) -> None:
    image = read_mammogram(write_bare_dicom(tmp_path / "IM0001", ramp()))
    np.testing.assert_array_equal(image.pixels, ramp())


def test_nothing_that_identifies_is_in_the_object(tmp_path) -> None:
    text = repr(read(tmp_path, ramp(), WindowCenterWidthExplanation="PLANTED^NAME"))
    assert not [planted for planted in PLANTED if planted in text]
