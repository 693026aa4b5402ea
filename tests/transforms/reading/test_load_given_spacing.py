"""Spacing given by the user, for pictures without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_factory import write_dicom
from PIL import Image

from transforms.errors import UserError
from transforms.reading.load_mammogram import LoadMammogramd


def test_a_given_spacing_is_that_of_pictures_without_one(tmp_path: Path) -> None:
    pixels = np.arange(2400, dtype=np.uint16).reshape(60, 40)
    Image.fromarray((pixels // 10).astype(np.uint8)).save(tmp_path / "a.png")
    known = LoadMammogramd("image", spacing=0.07)({"image": tmp_path / "a.png"})
    assert known["spacing_mm"] == [0.07, 0.07]
    assert known["facts"]["spacing_source"] == "--spacing"
    assert LoadMammogramd("image")({"image": tmp_path / "a.png"})["facts"]["spacing_source"] == "none"
    file = write_dicom(tmp_path / "b.dcm", pixels, PixelSpacing=[0.1, 0.2])
    stated = LoadMammogramd("image", spacing=[0.05, 0.06])({"image": file})
    assert stated["spacing_mm"] == [0.1, 0.2]
    with pytest.raises(UserError, match="--spacing 0: expected the pixel size in mm, above 0"):
        LoadMammogramd("image", spacing=0)
