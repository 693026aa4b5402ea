"""The synthetic mammograms: reproducible, correct in every mask, and like a hospital's files."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_voi_lut
from scipy import ndimage

from scripts.importers.labels.polygon_fill import fill
from scripts.phantom.anatomy import SIDES, VIEWS, Grid
from scripts.phantom.hospital import SCANNERS, scanner_of, stored_values, write_dicom
from scripts.phantom.mass import Mass, subject_mass
from scripts.phantom.outlines import feature_collection
from scripts.phantom.random_draws import Draws
from scripts.phantom.view import STRUCTURES, View, make_view
from scripts.sample import SUBJECTS

PIXELS_OF_FIRST_SUBJECT = "3d023984c24344076986d3518ea6f20a7795c481958fb4d53c7a42ad5095acd2"
LABELS_OF_FIRST_SUBJECT = "18172b3397bca2317b47dc9ccfe36bdeb9ad61eacee4028e9e4e5aef860d584a"


@pytest.fixture(scope="module")
def views() -> list[View]:
    """All views of the first six subjects: each scanner once."""
    return [make_view(0, subject, side, view) for subject in range(6) for side in SIDES for view in VIEWS]


def flattened(view: View) -> np.ndarray:
    """uint8 (H, W): 0 is air, k the k-th structure; the later one where they overlap."""
    label = np.zeros(view.picture.shape, np.uint8)
    for number, name in enumerate(STRUCTURES, start=1):
        if name in view.masks:
            label[view.masks[name]] = number
    return label


# --- the same on every machine


def test_first_subject_is_the_same_on_every_machine(views: list[View]) -> None:
    pixels, labels = hashlib.sha256(), hashlib.sha256()
    for view in views[:4]:
        pixels.update(stored_values(view).astype("<u2").tobytes())
        labels.update(flattened(view).tobytes())
    assert pixels.hexdigest() == PIXELS_OF_FIRST_SUBJECT
    assert labels.hexdigest() == LABELS_OF_FIRST_SUBJECT


def test_draws_are_the_raw_bits_of_pcg64() -> None:
    raw = np.random.PCG64(np.random.SeedSequence(5, spawn_key=(1, 2))).random_raw(2)
    draw = Draws(5, 1, 2)
    assert [draw.uniform(0, 1), draw.uniform(10, 14)] == [(raw[0] >> 11) / 2**53, 10 + 4 * ((raw[1] >> 11) / 2**53)]


def test_seed_subject_side_and_view_each_give_another_picture() -> None:
    places = [(0, 0, "L", "CC"), (1, 0, "L", "CC"), (0, 1, "L", "CC"), (0, 0, "R", "CC"), (0, 0, "L", "MLO")]
    assert len({make_view(*place, 128).picture.tobytes() for place in places}) == len(places)


def test_integers_reach_both_ends() -> None:
    draw = Draws(0)
    assert {draw.integer(3, 5) for _ in range(60)} == {3, 4, 5}


@pytest.mark.parametrize("values", [Draws(0).noise((200, 200)), Draws(1).texture(np.arange(400), np.arange(400), 4)])
def test_noise_and_texture_are_normalised(values: np.ndarray) -> None:
    assert abs(values.mean()) < 0.1
    assert abs(values.std() - 1) < 0.1


def test_a_finer_grid_shows_the_same_breast() -> None:
    coarse, fine = (make_view(0, 2, "L", "MLO", height) for height in (128, 256))
    for name in ("adipose tissue", "pectoral muscle", "mammary gland", "tumor"):
        if name in coarse.masks:
            small, large = coarse.masks[name], fine.masks[name][::2, ::2]
            assert (small & large).sum() / (small | large).sum() > 0.7, name


# --- anatomy


@pytest.mark.parametrize("side", SIDES)
def test_left_breast_points_right_and_right_breast_left(views: list[View], side: str) -> None:
    wall, air = (0, -1) if side == "L" else (-1, 0)
    for view in (view for view in views if view.side == side):
        breast = view.masks["adipose tissue"]
        assert breast[:, wall].any()
        assert not breast[:, air].any()
        assert view.masks["text"][:, : 96 if side == "R" else None].sum() > 0


def test_structures_lie_where_they_belong(views: list[View]) -> None:
    for view in views:
        masks = view.masks
        inside = masks["adipose tissue"]
        for name in set(masks) - {"text", "adipose tissue"}:
            assert not (masks[name] & ~inside).any(), name
        assert not (masks["text"] & inside).any()
        assert not (masks["mammary gland"] & masks.get("pectoral muscle", False)).any()
        assert ndimage.label(inside)[1] == 1
        assert ("pectoral muscle" in masks) or view.view == "CC"


def test_one_of_two_neighbours_has_a_mass_seen_in_both_views_of_one_breast() -> None:
    masses = [subject_mass(0, subject) for subject in range(64)]
    for first, second in zip(masses[::2], masses[1::2], strict=True):
        assert (first is None) != (second is None)
    assert {mass.side for mass in masses if mass} == set(SIDES)
    assert {mass.spiculated for mass in masses if mass} == {False, True}


def test_one_mass_of_three_neighbors_is_in_dense_tissue() -> None:
    masses = [mass for subject in range(60) if (mass := subject_mass(3, subject))]
    dense = np.array([mass.in_dense for mass in masses]).reshape(-1, 3)
    assert (dense.sum(axis=1) == 1).all()
    assert dense.any(axis=0).all(), "always the same of the three"


def test_diameters_are_spread_from_8_to_30_mm() -> None:
    diameters = np.array([2 * mass.radius for subject in range(400) if (mass := subject_mass(0, subject))])
    assert diameters.min() >= 8
    assert diameters.max() <= 30
    assert all(count > 30 for count in np.histogram(diameters, bins=4, range=(8, 30))[0])  # 50 expected


@pytest.fixture(scope="module")
def tumors() -> list[tuple[Mass, View]]:
    """The views of the sample that show a mass, coarse."""
    masses = [(subject, mass) for subject in range(SUBJECTS) if (mass := subject_mass(0, subject))]
    return [(mass, make_view(0, subject, mass.side, name, 192)) for subject, mass in masses for name in VIEWS]


def test_every_mass_is_drawn_whole_and_in_its_size(tumors: list[tuple[Mass, View]]) -> None:
    assert len(tumors) == SUBJECTS
    for mass, view in tumors:
        area = view.masks["tumor"].sum() * view.spacing**2
        assert 2 * np.sqrt(area / np.pi) == pytest.approx(2 * mass.radius, rel=0.1)
        assert ndimage.label(view.masks["tumor"])[1] == 1


def test_a_third_of_the_masses_are_surrounded_by_gland(tumors: list[tuple[Mass, View]]) -> None:
    surrounded = []
    for mass, view in tumors:
        tumor = view.masks["tumor"]
        near = (ndimage.distance_transform_edt(~tumor) * view.spacing <= 6) & ~tumor & view.masks["adipose tissue"]
        surrounded.append(view.masks["mammary gland"][near].mean() > 0.5)
        assert mass.in_dense or not surrounded[-1]
    assert 0.25 <= np.mean(surrounded) <= 0.4


def test_masses_are_not_the_brightest_thing(tumors: list[tuple[Mass, View]]) -> None:
    """In most views tissue as large as the mass is brighter than it, muscle and skin left out."""
    brighter = []
    for _, view in tumors:
        tumor = view.masks["tumor"]
        other = view.masks["adipose tissue"] & ~tumor & ~view.masks["skin"]
        other &= ~view.masks.get("pectoral muscle", np.zeros_like(other))
        brighter.append((view.picture[other] > view.picture[tumor].mean()).sum() > tumor.sum())
    assert np.mean(brighter) > 0.5  # it is 0.59


def test_mass_is_equally_deep_in_both_views(views: list[View]) -> None:
    found = {(view.subject, view.side, view.view): view for view in views if "tumor" in view.masks}
    assert len(found) == 6
    for (subject, side, _), view in found.items():
        depths = []
        for name in VIEWS:
            masks = found[subject, side, name].masks
            nipple, tumour = (np.nonzero(masks[key])[1].mean() for key in ("nipple", "tumor"))
            depths.append(abs(nipple - tumour) * view.spacing)
        assert abs(depths[0] - depths[1]) < 12


def test_tissues_overlap_in_grey_value(views: list[View]) -> None:
    fat, gland = [], []
    for view in views:
        masks = view.masks
        gland.append(np.median(view.picture[masks["mammary gland"]]))
        fat.append(np.median(view.picture[masks["adipose tissue"] & ~masks["mammary gland"] & ~masks["skin"]]))
        assert gland[-1] > fat[-1] + 0.05
    assert max(fat) > min(gland) - 0.1, "a threshold on grey values alone would do"


# --- polygons


def filled(polygons: list[list[list[tuple[int, int]]]], shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for rings in polygons:
        part = np.zeros(shape, bool)
        fill(part, [np.asarray(ring, np.float64) for ring in rings])
        assert not (mask & part).any(), "polygons of one mask overlap"
        mask |= part
    return mask


def test_annotations_of_a_view_give_its_masks_back(views: list[View]) -> None:
    for view in views[:4]:
        content = json.loads(feature_collection(view.masks, STRUCTURES, "key"))
        assert content["type"] == "FeatureCollection"
        for feature in content["features"]:
            geometry, properties = feature["geometry"], feature["properties"]
            name = properties["classification"]["name"]
            assert properties["objectType"] == "annotation"
            assert properties["classification"]["color"] == list(STRUCTURES[name])
            coordinates = geometry["coordinates"]
            polygons = [coordinates] if geometry["type"] == "Polygon" else coordinates
            assert np.array_equal(filled(polygons, view.picture.shape), view.masks[name]), name
        assert [f["properties"]["classification"]["name"] for f in content["features"]] == list(view.masks)


# --- DICOM


@pytest.fixture(scope="module")
def files(views: list[View], tmp_path_factory: pytest.TempPathFactory) -> list[tuple[View, Path]]:
    folder = tmp_path_factory.mktemp("dicom")
    pairs = [(view, folder / f"{number}.dcm") for number, view in enumerate(views)]
    for view, path in pairs:
        write_dicom(view, 0, path)
    return pairs


def test_files_are_read_without_a_warning_and_hold_the_picture(files: list[tuple[View, Path]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for view, path in files:
            file = pydicom.dcmread(path)
            for element in file.iterall():
                str(element)
            pixels = file.pixel_array
            assert np.array_equal(pixels, stored_values(view))
            top = 2**file.BitsStored - 1
            grey = (top - pixels if file.PhotometricInterpretation == "MONOCHROME1" else pixels) / top
            assert np.abs(grey - view.picture).max() <= 0.5 / top + 1e-12


def test_header_says_what_a_viewer_needs(files: list[tuple[View, Path]]) -> None:
    for view, path in files:
        file, scanner = pydicom.dcmread(path), scanner_of(view.subject)
        assert file.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1.2"
        assert (file.Modality, file.PresentationIntentType) == ("MG", "FOR PRESENTATION")
        assert (file.ImageLaterality, file.ViewPosition) == (view.side, view.view)
        assert file.ViewCodeSequence[0].CodeValue == {"CC": "399162004", "MLO": "399368009"}[view.view]
        assert file.PatientOrientation[0] == ("A" if view.side == "L" else "P")
        assert file.ImagerPixelSpacing == [view.spacing] * 2 == [0.9375] * 2
        assert ("PixelSpacing" in file) == scanner.pixel_spacing
        inverse = file.PhotometricInterpretation == "MONOCHROME1"
        assert file.PresentationLUTShape == ("INVERSE" if inverse else "IDENTITY")
        assert (file.BitsAllocated, file.HighBit) == (16, file.BitsStored - 1)
        assert (file.BurnedInAnnotation, file.BreastImplantPresent) == ("YES", "NO")
        assert str(file.PatientName).startswith("SYNTHETIC^")
        assert "Not for clinical use" in file.ImageComments


def test_scanners_differ_in_what_real_ones_differ_in() -> None:
    assert {scanner.bits for scanner in SCANNERS} == {12, 13, 14}
    assert {scanner.inverse for scanner in SCANNERS} == {False, True}
    assert {scanner.function for scanner in SCANNERS} == {"", "LINEAR", "LINEAR_EXACT", "SIGMOID"}
    assert len({scanner.syntax for scanner in SCANNERS}) == 3


def test_window_keeps_the_tissue(files: list[tuple[View, Path]]) -> None:
    for view, path in files:
        file = pydicom.dcmread(path)
        values = np.asarray(apply_voi_lut(file.pixel_array, file))[view.masks["adipose tissue"]]
        top = 2**file.BitsStored - 1
        assert np.mean((values > 0) & (values < top)) > 0.99
        assert np.ptp(np.quantile(values, [0.01, 0.99])) > 0.5 * top, "the window is much too wide"


def test_identifiers_are_unique_and_one_study_is_one_subject(files: list[tuple[View, Path]]) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for _, path in files]
    assert len({file.SOPInstanceUID for file in headers}) == len(headers)
    assert len({file.SeriesInstanceUID for file in headers}) == len(headers)
    assert len({(file.StudyInstanceUID, file.PatientID) for file in headers}) == len(headers) / 4


def test_writing_again_gives_the_same_bytes(files: list[tuple[View, Path]], tmp_path: Path) -> None:
    for view, path in files[::4]:
        write_dicom(view, 0, tmp_path / "again.dcm")
        assert (tmp_path / "again.dcm").read_bytes() == path.read_bytes()


def test_grid_is_the_field_of_the_detector() -> None:
    grid = Grid(256)
    assert grid.shape == (256, 192)
    assert (grid.rows[0], grid.columns[-1]) == (0.46875, 180 - 0.46875)
