"""Errors of a bundle's run as a user reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from transforms.errors import user_error


@contextmanager
def refused(*words: str, lines: int = 1) -> Iterator[None]:
    """Expect a `UserError` with the words from the block, however deeply MONAI wrapped it."""
    try:
        yield
    except Exception as error:
        cause = user_error(error)
        if cause is None:
            raise
        message = str(cause)
    else:
        pytest.fail(f"was not refused; expected an error with {', '.join(words)}")
    assert [word for word in words if word not in message] == [], message
    assert len(message.splitlines()) <= lines, message
