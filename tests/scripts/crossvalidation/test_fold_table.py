"""Results of folds, also with damaged files."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.comparison.models import Model
from scripts.crossvalidation.fold_table import fold_result
from transforms.errors import UserError

MODEL = Model("unet", "U-Net", (0, 0))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"[" * 100_000, b"[1]", b"{}", b'{"subjects": 5}', b"\xff\xfe{}"],
    ids=["empty", "NUL", "deep", "a list", "nothing in it", "other content", "encoding"],
)
def test_a_damaged_confusion_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "confusion-unet.json").write_bytes(content)
    with pytest.raises(
        UserError, match=r"confusion-unet\.json: .*restore it, or remove the folder of its fold"
    ) as error:
        fold_result(tmp_path, "unet", "fold 1", {}, MODEL)
    assert "\n" not in str(error.value)


def test_a_missing_confusion_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"confusion-unet\.json: cannot be read"):
        fold_result(tmp_path, "unet", "fold 1", {}, MODEL)
