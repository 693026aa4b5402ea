"""`--predictions`: label maps of other tools as rows, their formats, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_factory import make_dataset
from PIL import Image

from scripts.compare import main
from scripts.comparison.peers.label_values import Values
from scripts.comparison.peers.peer_files import find, read_probability
from scripts.comparison.peers.peer_scores import Peers, parsed, peer_rows
from scripts.comparison.store import Result, cross_validation
from scripts.crossvalidation.views import fold_views
from transforms.dataset import Dataset
from transforms.errors import UserError
from transforms.outputs.nifti import save_nifti

SHAPE = (40, 32)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Six subjects with one image each; s004 and s005 are validated on."""
    return Dataset.load(make_dataset(tmp_path / "tiny"))


def labels_of(data: Dataset, section: str = "validation") -> dict[str, np.ndarray]:
    return {item["case"]: np.load(item["label"]) for item in data.items(section)}


def write(folder: Path, maps: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for case, values in maps.items():
        Image.fromarray(values).save(folder / f"{case}.png")
    return folder


def peers(data: Dataset, tmp_path: Path, cross: bool = False, **folders: Path) -> Peers:
    return Peers({name: [path] for name, path in folders.items()}, data, "validation", cross, tmp_path / "pictures")


# -- rows --------------------------------------------------------------------------------------------------------------


def test_label_maps_are_scored_without_a_store(
    data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    truth = labels_of(data)
    right = write(tmp_path / "right", truth)
    halved = {
        case: np.where((values == 2) & (np.arange(40) % 2 == 0)[:, None], 1, values) for case, values in truth.items()
    }
    half = write(tmp_path / "half", {case: values.astype(np.uint8) for case, values in halved.items()})
    words = [
        "--tracking_uri",
        str(tmp_path / "none.db"),
        "--dataset_dir",
        str(data.root),
        "--out",
        str(tmp_path / "out"),
    ]
    words += ["--predictions", f"reader 2={right}", "--predictions", f"nnU-Net={half}", "--json", "--draws", "100"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "label maps only: " in said.err
    rows = {row["model"]: row for row in json.loads(said.out)}
    assert rows["reader 2"]["dice/tumor"] == 1
    assert rows["reader 2"]["mean_image_dice"] == 1
    pixels = sum((values == 2).sum() for values in truth.values())
    found = sum((values == 2).sum() for values in halved.values())
    assert rows["nnU-Net"]["dice/tumor"] == pytest.approx(2 * found / (pixels + found))
    assert rows["nnU-Net"]["subjects"] == 2
    assert rows["reader 2"]["nsd/tumor"] == rows["reader 2"]["boundary_iou/tumor"] == 1
    assert rows["reader 2"]["hd95_mm/tumor"] == 0 < rows["nnU-Net"]["hd95_mm/tumor"]
    assert main([*words, "--metric", "hd95_mm/tumor"]) == 0
    said = capsys.readouterr()
    assert {row["model"]: row.get("rank") for row in json.loads(said.out)}["reader 2"] == 1
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Boundaries of tumor, mean over images: surface Dice and boundary IoU at 1 mm" in page
    assert "Label maps from files: reader 2, nnU-Net." in page
    assert "No probability maps: reader 2, nnU-Net." in page
    assert page.count("segmented by every model") == 1


def test_folders_of_one_name_are_seeds(data: Dataset, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", labels_of(data))
    names = parsed([f"nnU-Net={folder}", f"nnU-Net={folder}", f"other={folder}"])
    assert names == {"nnU-Net": [folder, folder], "other": [folder]}
    rows = peer_rows(replace(peers(data, tmp_path), folders=names), [])
    assert [(row.model.title, len(row.trainings)) for row in rows] == [("nnU-Net", 2), ("other", 1)]


def test_rows_of_a_cross_validation_are_comparable_with_its_own(data: Dataset, tmp_path: Path) -> None:
    maps = labels_of(data, "training") | labels_of(data)
    subjects = sorted({case[:4] for case in maps})
    folds = [subjects[:3], subjects[3:]]
    made = []
    for number, view in enumerate(fold_views(data, folds, 0)):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "dataset.json").write_text(json.dumps(view))
        matrices = {subject: np.eye(3, dtype=np.int64) for subject in folds[number]}
        digest = Dataset.load(tmp_path / str(number)).digest
        names = tuple(data.class_names)
        made.append(Result("fcn", "", (str(number),), "validation", names, "tiny", digest, matrices, folds=(matrices,)))
    other = cross_validation(made, "fcn", 2)
    (row,) = peer_rows(peers(data, tmp_path, cross=True, peer=write(tmp_path / "p", maps)), [other])
    assert row.basis == other.basis
    assert [sorted(fold) for fold in row.folds] == folds
    kept = {file.stem[:4] for file in (tmp_path / "pictures" / "0-0" / "prediction").iterdir()}
    assert kept == set(folds[0])  # whose pictures the cross-validations show
    (part,) = peer_rows(peers(data, tmp_path, cross=True, peer=tmp_path / "p"), [cross_validation(made[:1], "fcn", 1)])
    assert sorted(part.subjects) == folds[0]  # the others are in no fold
    strange = replace(other, folds=({"x": np.eye(3, dtype=np.int64)},))
    with pytest.raises(UserError, match="has other subjects; give its data set"):
        peer_rows(peers(data, tmp_path, cross=True, peer=tmp_path / "p"), [strange])


def test_probabilities_make_a_curve(data: Dataset, tmp_path: Path) -> None:
    truth = labels_of(data)
    folder = write(tmp_path / "a", truth)
    for case, values in truth.items():
        tumor = np.where(values == 2, 0.9, 0.02).astype(np.float32)
        np.savez(folder / f"{case}.npz", probabilities=np.stack([1 - tumor, 0 * tumor, tumor])[:, None])
    (row,) = peer_rows(peers(data, tmp_path, peer=folder), [])
    assert not row.from_masks
    assert row.lesions is not None
    assert row.lesions.measures()["lesion_sensitivity_at_1fp"].value == 1
    assert {round(c.score, 2) for image in row.lesions.images for c in image.candidates} >= {0.9}


# -- files -------------------------------------------------------------------------------------------------------------


def save_npy(path: Path, values: np.ndarray) -> None:
    np.save(path.with_name(path.name + ".npy"), values)


def save_nii(path: Path, values: np.ndarray) -> None:
    save_nifti(values, (0.1, 0.1), path.with_name(path.name + ".nii.gz"))


def save_own(path: Path, values: np.ndarray) -> None:
    """As inference of this project does, with both of its label maps."""
    Image.fromarray(values).save(path.with_name(path.name + "_labels.png"))
    save_nifti(values, (0.1, 0.1), path.with_name(path.name + "_seg.nii.gz"))


@pytest.mark.parametrize("save", [save_npy, save_nii, save_own])
def test_formats(save: Callable[[Path, np.ndarray], None], data: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "fold_0"
    folder.mkdir(parents=True)
    for case, values in labels_of(data).items():
        save(folder / case, values)
    (folder / "s004_L_CC_overlay.png").write_bytes(b"not looked at")
    (row,) = peer_rows(peers(data, tmp_path, peer=tmp_path / "deep"), [])
    assert all(np.array_equal(m, np.diag(np.diag(m))) for m in row.subjects.values())


def test_gray_values_of_the_data_set_s_own_label_images(data: Dataset) -> None:
    data.content["source_values"] = [0, 128, 255]
    values = Values(data, "--predictions a")
    assert values.classes(Path("a.png"), np.array([[0, 255, 128]], np.uint8)).tolist() == [[0, 2, 1]]
    assert values.classes(Path("b.png"), np.array([[0, 0]], np.uint8)).tolist() == [[0, 0]]
    with pytest.raises(UserError, match=r"c.png holds class numbers, a.png gray values; use the same values"):
        values.classes(Path("c.png"), np.array([[0, 2]], np.uint8))
    with pytest.raises(UserError, match=r"d.png: holds the values 0, 7; expected the class numbers 0 to 2"):
        values.classes(Path("d.png"), np.array([[0, 7]], np.uint8))


def test_small_probability_maps_are_enlarged(tmp_path: Path) -> None:
    np.save(tmp_path / "a_prob.npy", np.array([[0.25, 0.75]], np.float32))
    assert read_probability(tmp_path / "a_prob.npy", [1], 2, (2, 4))[0] == pytest.approx([0.25, 0.375, 0.625, 0.75])
    np.save(tmp_path / "b_prob.npy", np.ones((4, 2, 2), np.float32))
    with pytest.raises(
        UserError, match=r"shape \(4, 2, 2\); expected \(rows, columns\) for the lesion's probability, or \(2,"
    ):
        read_probability(tmp_path / "b_prob.npy", [1], 2, (2, 2))
    np.save(tmp_path / "c_prob.npy", np.full((2, 2), -3.0))
    with pytest.raises(UserError, match="values from -3 to -3; expected probabilities"):
        read_probability(tmp_path / "c_prob.npy", [1], 2, (2, 2))
    np.save(tmp_path / "d_prob.npy", np.zeros((33, 25)))  # of 100 x 75, rounded
    assert read_probability(tmp_path / "d_prob.npy", [1], 2, (100, 75)).shape == (100, 75)
    with pytest.raises(
        UserError, match=r"d_prob.npy: is 33 x 25, the label 75 x 100 \(rows x columns\); expected the same"
    ):
        read_probability(tmp_path / "d_prob.npy", [1], 2, (75, 100))


def no_map(folder: Path) -> None:
    (folder / "s004_L_CC.png").unlink()


def two_maps(folder: Path) -> None:
    (folder / "more").mkdir()
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(folder / "more" / "s004_L_CC.png")


def other_size(folder: Path) -> None:
    Image.fromarray(np.zeros((20, 16), np.uint8)).save(folder / "s004_L_CC.png")


def other_values(folder: Path) -> None:
    Image.fromarray(np.full(SHAPE, 9, np.uint8)).save(folder / "s004_L_CC.png")


def one_probability(folder: Path) -> None:
    np.save(folder / "s004_L_CC_prob.npy", np.zeros(SHAPE))


def no_image(folder: Path) -> None:
    (folder / "s004_L_CC.png").write_bytes(b"%PDF-1.4")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_map, "no label map of 1 of 2 cases in .*, such as s004_L_CC; expected CASE and one of .png"),
        (two_maps, "two files of one case: .*remove one"),
        (other_size, r"s004_L_CC.png: is 20 x 16, the label 40 x 32 \(rows x columns\)"),
        (other_values, r"holds the values 9; expected the class numbers 0 to 2 \(background, gland, tumor\)"),
        (one_probability, "no probability map of 1 of 2 cases"),
        (no_image, "s004_L_CC.png: not a readable image: it is"),
    ],
)
def test_what_does_not_fit_is_refused(
    spoil: Callable[[Path], None], message: str, data: Dataset, tmp_path: Path
) -> None:
    folder = write(tmp_path / "a", labels_of(data))
    spoil(folder)
    with pytest.raises(UserError, match=message):
        peer_rows(peers(data, tmp_path, peer=folder), [])


@pytest.mark.parametrize("text", ["folder", "=folder", "name="])
def test_names_and_folders(text: str) -> None:
    with pytest.raises(UserError, match=r"expected NAME=FOLDER"):
        parsed([text])


def test_options_that_belong_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--predictions", "a=b"]) == 2
    assert "--predictions and --dataset_dir: expected together" in capsys.readouterr().err
    with pytest.raises(UserError, match="is not a folder"):
        find(tmp_path / "none", ["a"], "--predictions a")


def segmentation(path: Path, frames: np.ndarray, labels: list[str], **more: Any) -> Path:
    """A SEG with only the attributes that are read."""
    from pydicom.dataset import Dataset as Header
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    file = Header()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    file.SegmentationType = "FRACTIONAL"
    file.MaximumFractionalValue = 255
    file.NumberOfFrames, file.Rows, file.Columns = frames.shape
    file.BitsAllocated, file.BitsStored, file.HighBit, file.SamplesPerPixel, file.PixelRepresentation = 8, 8, 7, 1, 0
    file.PhotometricInterpretation = "MONOCHROME2"
    file.SegmentSequence, per_frame = [], []
    for number, label in enumerate(labels, start=1):
        segment, frame, identity = Header(), Header(), Header()
        segment.SegmentNumber, segment.SegmentLabel = number, label
        identity.ReferencedSegmentNumber = number
        frame.SegmentIdentificationSequence = [identity]
        file.SegmentSequence.append(segment)
        per_frame.append(frame)
    file.SharedFunctionalGroupsSequence = [Header()]
    file.PerFrameFunctionalGroupsSequence = per_frame
    file.PixelData = frames.astype(np.uint8).tobytes()
    for key, value in more.items():
        setattr(file, key, value)
    file.save_as(path, enforce_file_format=True)
    return path


def test_dicom_seg(tmp_path: Path) -> None:
    from scripts.comparison.peers.seg_reader import is_segmentation, read_segmentation

    frames = np.zeros((2, 4, 6))
    frames[0, :2] = 255
    frames[1, 2:, :3] = 130
    names = ["background", "gland", "tumor"]
    path = segmentation(tmp_path / "a.dcm", frames, ["Tumor", "gland"])  # by name, in another order than the classes
    assert is_segmentation(path)
    assert read_segmentation(path, names).tolist() == [[2] * 6] * 2 + [[1, 1, 1, 0, 0, 0]] * 2
    path = segmentation(tmp_path / "b.dcm", frames, ["x", "y"])
    assert read_segmentation(path, names)[0, 0] == 1
    path = segmentation(tmp_path / "c.dcm", np.full((2, 4, 6), 255), ["gland", "tumor"])
    with pytest.raises(UserError, match="segments overlap"):
        read_segmentation(path, names)
    path = segmentation(tmp_path / "d.dcm", frames, ["gland", "tumor"], PixelData=b"")
    with pytest.raises(UserError, match="cannot be read as DICOM SEG"):
        read_segmentation(path, names)
    path = segmentation(tmp_path / "e.dcm", np.zeros((3, 4, 6)), ["gland", "tumor", "wire"])
    with pytest.raises(UserError, match="segment 3 has neither the name nor the number of a class"):
        read_segmentation(path, names)


def test_dicom_seg_of_this_project_s_own_inference(tmp_path: Path) -> None:
    from dicom_factory import ramp, write_dicom

    from scripts.comparison.peers.seg_reader import read_segmentation
    from transforms.outputs.dicom_seg import write_dicom_seg
    from transforms.outputs.prediction import Prediction

    source = write_dicom(tmp_path / "source.dcm", ramp((33, 51)))
    label = np.random.default_rng(0).integers(0, 3, (33, 51)).astype(np.uint8)
    names = ("background", "gland", "tumor")
    write_dicom_seg(Prediction(label, names, tmp_path, "a", spacing_mm=(0.1, 0.1), facts={"path": str(source)}))
    assert np.array_equal(read_segmentation(tmp_path / "a_seg.dcm", names), label)
