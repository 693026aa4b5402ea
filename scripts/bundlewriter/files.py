"""Generated files of all bundles: comparison with their source, and writing.

bundles/<name>/generated.sha256 holds the SHA-256 of each file as last written here, in the format of
`sha256sum --check`. A file with other content was edited by hand since, and is only overwritten on request.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from engines.base.paths import code_root
from scripts.bundlewriter.layout import layout
from scripts.bundlewriter.options_table import options_page
from scripts.bundlewriter.source import Common, bundle_configs
from transforms.errors import UserError

DIGESTS = "generated.sha256"


def generated(root: Path) -> dict[Path, dict[str, str]]:
    """Return the configs of all bundles below root/bundles: folder of the bundle → name of the config → text.

    Raises:
        UserError: a source is incomplete.
    """
    common = Common.read(common_folder(root))
    folders = sorted(path.parent for path in (root / "bundles").glob("*/network.json"))
    return {folder: _texts(folder, common) for folder in folders}


def common_folder(root: Path) -> Path:
    """Return root/bundles/common, or that of this code if root has none, as for a user's own bundles."""
    own = root / "bundles" / "common"
    return own if own.is_dir() else code_root() / "bundles" / "common"


def _texts(folder: Path, common: Common) -> dict[str, str]:
    texts = {f"{name}.json": layout(config) for name, config in bundle_configs(folder, common).items()}
    return {**texts, "logging.conf": common.logging}


def out_of_date(root: Path) -> list[Path]:
    """Return files that differ from what their source gives, including the page of options."""
    found = []
    for folder, texts in generated(root).items():
        found += [folder / "configs" / name for name, text in texts.items() if read(folder / "configs" / name) != text]
        if read(folder / DIGESTS) != _digests(texts):
            found.append(folder / DIGESTS)
    page = root / "docs" / "options.md"
    if page.is_file() and read(page) != options_page(read(page), Common.read(root / "bundles" / "common")):
        found.append(page)
    return found


def write_all(root: Path, force: bool = False, only: Path | None = None) -> list[Path]:
    """Write outdated files; return them.

    Args:
        root: root of the repository.
        force: also overwrite files that were edited by hand.
        only: folder of the only bundle whose configs are written.

    Raises:
        EditedByHandError: files were edited by hand; nothing is written.
    """
    bundles = {folder: texts for folder, texts in generated(root).items() if only in (None, folder)}
    edited = [] if force else [item for folder, texts in bundles.items() for item in _edited(folder, texts)]
    if edited:
        raise EditedByHandError(root, edited)
    stale = out_of_date(root)
    for folder, texts in bundles.items():
        (folder / "configs").mkdir(exist_ok=True)
        for name, text in texts.items():
            _write(folder / "configs" / name, text)
        _write(folder / DIGESTS, _digests(texts))
    page = root / "docs" / "options.md"
    if page.is_file() and only is None:
        _write(page, options_page(read(page), Common.read(root / "bundles" / "common")))
    return stale


class EditedByHandError(UserError):
    """Files that would lose manual edits; `differences` shows the edits."""

    def __init__(self, root: Path, edited: list[tuple[Path, str]]) -> None:
        names = [path.relative_to(root).as_posix() for path, _ in edited]
        super().__init__(
            f"{', '.join(names)}: edited by hand; make the change in network.json or bundles/common/, or overwrite it "
            "with --force; nothing was written"
        )
        self.differences = "".join(
            "".join(
                difflib.unified_diff(
                    (read(path) or "").splitlines(keepends=True),
                    text.splitlines(keepends=True),
                    f"{name} (edited)",
                    f"{name} (generated)",
                )
            )
            for name, (path, text) in zip(names, edited, strict=True)
        )


def _edited(folder: Path, texts: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Yield files that match neither the last written text nor the generated text, with the generated text."""
    known = {line.split("  ", 1)[1]: line.split("  ", 1)[0] for line in (read(folder / DIGESTS) or "").splitlines()}
    for name, text in texts.items():
        path = folder / "configs" / name
        content = read(path)
        if content not in (None, text) and _digest(content or "") != known.get(f"configs/{name}"):
            yield path, text


def read(path: Path) -> str | None:
    """Return the text of a file with normalized line endings; None if the file is missing."""
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _write(path: Path, text: str) -> None:
    if read(path) != text:
        path.write_text(text, encoding="utf-8", newline="\n")


def _digests(texts: Mapping[str, str]) -> str:
    return "".join(f"{_digest(text)}  configs/{name}\n" for name, text in sorted(texts.items()))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
