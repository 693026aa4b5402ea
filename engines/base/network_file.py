"""network.json: title and order of a bundle's rows in tables.

    {"title": "Dilation10", "order": 3, "stages": {"front": "Dilation10 Front", "context": "Dilation10 Context", …}, …}

The rest of the file is read by `python -m scripts.bundles`, which writes the bundle's configs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base.paths import bundle_folders
from transforms.errors import UserError

FILE = "network.json"


@dataclass(frozen=True)
class NetworkRows:
    """Table rows of one bundle.

    Attributes:
        bundle: name of its folder.
        title: of the network.
        order: networks are sorted by it, then by bundle name.
        stages: stage → title of its row, in training order.
    """

    bundle: str
    title: str
    order: int
    stages: Mapping[str, str]

    def tags(self, stage: str) -> dict[str, str]:
        """Return the MLflow tags of a run of the stage, so that a comparison needs no bundle."""
        names = list(self.stages)
        place = names.index(stage) if stage in names else len(names)
        title = self.stages.get(stage, f"{self.title} {stage}")
        return {"bundle": self.bundle, "title": title, "order": f"{self.order}.{place}"}


def read_rows(folder: Path) -> NetworkRows:
    """Return title, order and rows of the bundle in `folder`.

    Raises:
        UserError: network.json is missing, or lacks one of them.
    """
    content = read_network(folder)
    return NetworkRows(folder.name, content["title"], content["order"], content["stages"])


def read_network(folder: Path) -> dict[str, Any]:
    """Return the content of a bundle's network.json; title, order and stages are checked.

    Raises:
        UserError: it cannot be read, or one of these entries is missing or invalid.
    """
    path = folder / FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}); see docs/own_network.md") from None
    for key, kind, expected in (("title", str, "a text"), ("order", int, "an integer"), ("stages", dict, "a mapping")):
        value = content.get(key) if isinstance(content, dict) else None
        if not isinstance(value, kind) or value in ("", {}):
            raise UserError(f"{path}: {key} is {value!r}; expected {expected}, see docs/own_network.md")
    return content


def all_rows(root: Path | None = None) -> dict[str, NetworkRows]:
    """Return the rows of all bundles below `root` (default: `bundle_folders`) by name, in table order."""
    folders = bundle_folders() if root is None else [root]
    paths = {path.parent.name: path.parent for folder in reversed(folders) for path in folder.glob(f"*/{FILE}")}
    found = [read_rows(path) for path in paths.values()]
    return {rows.bundle: rows for rows in sorted(found, key=lambda rows: (rows.order, rows.bundle))}


def rows_beside(configs: Path | None) -> NetworkRows | None:
    """Return the rows of the bundle that a folder of configs belongs to; None without network.json."""
    if configs is None or not (configs.resolve().parent / FILE).is_file():
        return None
    return read_rows(configs.resolve().parent)
