"""Use of inference.json by other programs such as MONAI Label, and label maps made without full-size logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_factory import write_dicom
from monai.bundle import ConfigParser
from monai.utils import convert_to_tensor
from PIL import Image
from repository import ROOT
from volume_factory import write_volume

from engines import TiledInferer
from transforms.reading.monai_label import affine_of

# the first axis runs to the back, the second to the left: rows are stored before columns
AFFINE = np.array([[0.0, -0.07, 0, 5], [-0.05, 0, 0, -7], [0, 0, 1, 0], [0, 0, 0, 1]])

Run = Callable[..., None]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The same picture, with the breast at the right, as DICOM with a spacing, as PNG, and as NIfTI with an affine."""
    pixels = np.zeros((50, 44), np.uint16)
    pixels[:, 14:] = 1500
    pixels[10:20, 25:39] = 3500
    folder = tmp_path / "in"
    write_dicom(folder / "a.dcm", pixels, PixelSpacing=[0.05, 0.07], ImageLaterality="R", ViewPosition="CC")
    Image.fromarray(pixels * 16).save(folder / "b.png")
    nib.save(nib.Nifti1Image((pixels * 16)[..., None], AFFINE), folder / "c.nii.gz")
    return folder


def as_a_host(config: Path, image: Path, **overrides: Any) -> dict[str, Any]:
    """Run the parts one by one on a dictionary, and keep its other keys."""
    parser = ConfigParser()
    parser.read_config(str(config))
    parser.update({"dataset_dir": str(image.parent), **overrides})
    before, inferer, network, after = (
        parser.get_parsed_content(name) for name in ("pre_transforms", "inferer", "network", "post_transforms")
    )
    data = before({"image": str(image), "host_key": 1})
    network.load_state_dict(torch.load(parser.get_parsed_content("ckpt_path"), weights_only=True))
    with torch.no_grad():
        data["pred"] = inferer(convert_to_tensor(data["image"])[None], network.eval())[0]
    return after(data)


@pytest.mark.parametrize("bundle", ["unet", "deeplabv3"])
def test_a_host_gets_the_label_map_of_inference_as_a_volume(
    bundle: str, run_bundle: Run, tiny_dataset: Path, images: Path, tmp_path: Path
) -> None:
    run_bundle(bundle=bundle, dataset_dir=str(tiny_dataset), max_epochs=1, image_height=24)
    run_bundle("inference", bundle=bundle, dataset_dir=str(images), formats=["png"], flip="left")
    config = ROOT / "bundles" / bundle / "configs" / "inference.json"
    places = {
        "a.dcm": np.diag([-0.07, -0.05, 1, 1]),
        "b.png": np.diag([-1.0, -1, 1, 1]),
        "c.nii.gz": AFFINE[:, [1, 0, 2, 3]],
    }
    for file, affine in places.items():
        data = as_a_host(config, images / file, output_dir=str(tmp_path / "out"), flip="left")
        written = tmp_path / "out" / "eval" / "segmentations" / f"{file.split('.')[0]}_labels.png"
        assert data["host_key"] == 1
        assert data["pred"].shape == (1, 44, 50, 1)
        assert np.array_equal(np.asarray(data["pred"])[0, :, :, 0].T, np.asarray(Image.open(written)))
        np.testing.assert_allclose(data["image_meta_dict"]["original_affine"], affine, atol=1e-6)


@pytest.mark.parametrize("ending", ["mha", "nrrd"])
def test_a_file_of_itk_keeps_its_place(ending: str, tmp_path: Path) -> None:
    """ITK's convention: index → direction * spacing * index + origin, left and back positive."""
    path = tmp_path / f"a.{ending}"
    write_volume(path, np.zeros((50, 44), np.uint16), (0.07, 0.05, 2), (5, -7, 3), ((0, 1, 0), (1, 0, 0), (0, 0, 1)))
    # column 3 and row 10 as stored: columns run to the back by 0.07, rows to the left by 0.05
    left, back, head = 5 + 10 * 0.05, -7 + 3 * 0.07, 3
    # the file's columns are rows here
    np.testing.assert_allclose(affine_of(path, (0.05, 0.07)) @ [10, 3, 0, 1], [-left, -back, head, 1], atol=1e-6)


@pytest.mark.parametrize("bundle", ["unet", "dilation10"])
def test_labels_without_logits_are_the_same(
    bundle: str, run_bundle: Run, tiny_dataset: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the stored resolution, or if no format needs logits, no full-size logits exist."""
    run_bundle(bundle=bundle, dataset_dir=str(tiny_dataset), max_epochs=1, image_height=24)
    made: list[bool] = []
    call = TiledInferer.__call__

    def spy(self: TiledInferer, *args: Any, **kwargs: Any) -> torch.Tensor:
        made.append(self.labels)
        return call(self, *args, **kwargs)

    monkeypatch.setattr(TiledInferer, "__call__", spy)
    written = {}
    for formats in (["png"], ["png", "probabilities"]):
        for pixels in (1, 10**6):
            results = tmp_path / f"{len(formats)}-{pixels}"
            run_bundle(
                "inference", bundle=bundle, dataset_dir=str(images), formats=formats, results_dir=str(results),
                image_height="$None", mirror_averaging=False, **{"inferer#inferer#max_pixels": pixels},
            )  # fmt: skip
            written[results.name] = [np.asarray(Image.open(results / f"{name}_labels.png")) for name in "abc"]
    assert made == [True] * 3 + [False] * 3
    first, *others = written.values()
    assert first[0].shape == (50, 44)
    for other in others:
        for one, two in zip(first, other, strict=True):
            assert np.mean(one != two) < 0.001  # rounding
