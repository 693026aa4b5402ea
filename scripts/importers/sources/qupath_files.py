"""Matching of annotation files and images by name, in all forms produced by QuPath and its users."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.importers.writing.cases import one_each
from transforms.errors import UserError
from transforms.plain_text import same_name
from transforms.reading.find_files import files_below
from transforms.reading.names import stem

_FORMS = tuple(f"{ending}{packed}" for ending in (".geojson", ".json") for packed in ("", ".gz", ".zip"))
_OTHER_FORMS = (".xml", ".qpdata", ".qpproj", ".roi", ".txt", ".csv", ".zip", ".xz", ".bz2", ".7z", ".rar", ".svg")


class AnnotationFiles:
    """The files of one import, looked up by image.

    Args:
        images: folder of the images.
        annotations: folder of the annotation files; None: beside each image.
    """

    def __init__(self, images: Path, annotations: Path | None) -> None:
        if annotations is not None and not annotations.is_dir():
            raise UserError(f"{annotations}: no such folder; expected that of the GeoJSON files as --annotations")
        self.images, self.root = images, annotations or images
        self.beside = annotations is None
        self._files: dict[str, dict[str, Path]] = {}
        for path in files_below(self.root):
            folder = same_name(path.parent.relative_to(self.root).as_posix())
            self._files.setdefault(folder, {})[same_name(path.name)] = path

    def of_all(self, paths: Sequence[Path]) -> dict[Path, Path | None]:
        """Return the annotation file of each image, or None if it has none.

        Raises:
            UserError: two files for one image, or one for two.
        """
        return one_each({path: self.of(path) for path in paths})

    def of(self, path: Path) -> Path | None:
        """Return the annotation file of an image: in the subfolder with the image's relative path, else at the top."""
        folder = same_name(path.parent.relative_to(self.images).as_posix())
        for place in dict.fromkeys([folder] if self.beside else [folder, "."]):
            known = self._files.get(place, {})
            names = [f"{name}{form}" for name in _names(path) for form in _FORMS]
            found = [known[name] for name in names if name in known and known[name] != path]
            if len(found) > 1:
                raise UserError(
                    f"{found[1]}: {found[0].name} also annotates {path.name}; keep the right one, as one of them may "
                    "be a prediction or an older version"
                )
            if found:
                return found[0]
        return None

    def other_form(self, path: Path) -> Path | None:
        """Return a file that may hold annotations of an image in an unsupported format."""
        known = self._files.get(same_name(path.parent.relative_to(self.images).as_posix()), {})
        return next(
            (
                found
                for name, found in known.items()
                if name.lower().endswith((*_OTHER_FORMS, *_FORMS))
                and name.startswith(tuple(_names(path)))
                and found != path
            ),
            None,
        )


def _names(path: Path) -> list[str]:
    """Return the possible names of an image's annotation file, without suffix."""
    return list(dict.fromkeys([same_name(stem(path)), same_name(path.name)]))
