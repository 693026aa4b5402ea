"""Hooks of the documentation site: documents outside of docs/ become pages, and links between them are kept.

Run by `mkdocs build` (mkdocs.yml). In the repository every link is relative to the file that holds it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def pages() -> dict[str, str]:
    """Path in the repository → path in the site, of the documents that lie outside of docs/."""
    outside = {
        "README.md": "index.md",
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "mlflow/README.md": "mlflow.md",
    }
    for path in sorted(ROOT.glob("bundles/*/docs/README.md")):
        outside[path.relative_to(ROOT).as_posix()] = f"bundles/{path.parents[1].name}.md"
    return outside


def in_site(source: str) -> str:
    """Path in the site of a file of the repository; files that are no documents are offered as they are."""
    return pages().get(source) or (source[5:] if source.startswith("docs/") else f"files/{source}")


def on_files(files: Files, config: Any) -> Files:
    """Add the documents outside of docs/ and every other file that a document links to."""
    sources = {source: ROOT / source for source in pages()}
    documents = [*sources.values(), *(ROOT / "docs").rglob("*.md")]
    for document in documents:
        for target in targets(document):
            if not target.startswith("docs/") and (ROOT / target).is_file():
                sources[target] = ROOT / target
    for source, path in sources.items():
        files.append(File.generated(config, in_site(source), abs_src_path=str(path)))
    return files


def targets(document: Path) -> list[str]:
    """What the links of a document lead to, as paths in the repository."""
    folder = document.parent.relative_to(ROOT).as_posix()
    return [posixpath.normpath(posixpath.join(folder, link)) for link in LINK.findall(document.read_text("utf-8"))]


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    place = {site: source for source, site in pages().items()}
    source = place.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        return posixpath.relpath(in_site(target), posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(link, markdown)
