"""Check that a bundle's documents are not copies from another network: README and metadata.json must not name one."""

from __future__ import annotations

import re
from pathlib import Path

from engines.base.network_file import FILE, NetworkRows, all_rows, read_rows
from scripts.sharing.trained import Trained
from transforms.errors import UserError


def check_documents(trained: Trained) -> None:
    """Refuse a README or metadata of another network; bundles without network.json are not checked.

    Raises:
        UserError: a document names another network.
    """
    if not (trained.bundle / FILE).is_file():
        return
    own = read_rows(trained.bundle)
    others = [rows for name, rows in all_rows().items() if name != own.bundle]
    metadata = trained.bundle / "configs" / "metadata.json"
    for key in ("name", "description"):
        _check(metadata, str(trained.metadata.get(key, "")), own, others, f"{key}: ")
    readme = trained.bundle / "docs" / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    overview, _, _ = text.partition("\n## ")
    _check(readme, overview, own, others)
    commands = re.findall(r"bundles/([\w-]+)/(?:configs|docs|models|eval)\b", text)
    foreign = [name for name in commands if name != own.bundle]
    if foreign:
        raise UserError(f"{readme}: names the bundle {foreign[0]}; expected {own.bundle}; correct its commands")


def _check(path: Path, text: str, own: NetworkRows, others: list[NetworkRows], where: str = "") -> None:
    if _names(text, own):
        return
    found = next((rows.title for rows in others if _names(text, rows)), None)
    if found is not None:
        raise UserError(f"{path}: {where}names {found}; expected {own.title}, the title in network.json; correct it")


def _names(text: str, rows: NetworkRows) -> bool:
    titles = (rows.title, *rows.stages.values())
    return any(re.search(rf"(?<!\w){re.escape(title)}(?!\w)", text, re.IGNORECASE) for title in titles)
