"""JSON of annotation tools, read under limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transforms.errors import UserError
from transforms.reading import limits
from transforms.reading.annotation_text import annotation_text


def read_json(path: Path, tool: str) -> Any:
    """Return the content of a JSON file with the annotations of many images, also compressed.

    Args:
        tool: tool whose file is expected, for the message.

    Raises:
        UserError: no such file, above `limits.COLLECTION_BYTES`, or not JSON.
    """
    try:
        return json.loads(annotation_text(path, limits.COLLECTION_BYTES).decode("utf-8-sig"))
    except UserError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(
            f"{path}: not readable as JSON ({type(error).__name__}); expected a file of {tool}; export it again"
        ) from None
