"""Options of reading that no image can be read with are refused before the first one."""

from __future__ import annotations

from typing import Any

import pytest

from transforms.errors import UserError
from transforms.reading.load_mammogram import LoadMammogramd


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": "Left"}, "--flip Left: unknown; choose from none, left, right"),  # would mirror every image
        ({"flip": ["left"]}, r"--flip \['left'\]: unknown"),
        ({"windowing": "VOI"}, "--windowing VOI: unknown; choose from none, voi, percentile"),
        ({"bits": 99}, "--bits 99: expected a whole number from 1 to 16, such as 12"),  # would make every image black
        ({"bits": 0}, "--bits 0: expected"),
        ({"bits": "twelve"}, "--bits twelve: expected"),
        ({"bits": True}, "--bits True: expected"),
    ],
)
def test_what_no_image_can_be_read_with(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LoadMammogramd("image", **options)
    LoadMammogramd("image", flip="left", windowing="percentile", bits=12)
