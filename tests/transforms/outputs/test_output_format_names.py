"""`--formats`: names of formats, or one line."""

from __future__ import annotations

from typing import Any

import pytest

from transforms.errors import UserError
from transforms.outputs.formats import checked_formats


@pytest.mark.parametrize("formats", [-1, float("inf"), True])
def test_what_is_no_list(formats: Any) -> None:
    with pytest.raises(UserError, match=rf"--formats {formats}: expected a list such as \['nifti','png'\]"):
        checked_formats(formats)


def test_what_is_no_name() -> None:
    with pytest.raises(UserError, match="--formats: unknown 1, tiff; choose from nifti"):
        checked_formats([1, "nifti", "tiff"])  # type: ignore[list-item]
