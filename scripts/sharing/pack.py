"""Packaging of a trained bundle as a zip."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from engines.base.network_file import FILE
from engines.base.paths import project_root
from engines.inference.inferers import size_multiple
from scripts.sharing import archive, documents
from scripts.sharing.code import copy_code
from scripts.sharing.identity import check_documents
from scripts.sharing.metadata import complete
from scripts.sharing.requirements import network_package, required_packages
from scripts.sharing.trained import Trained, find_trained
from transforms.digests import file_sha256
from transforms.errors import UserError

CODE = Path(__file__).resolve().parents[2]
"""Folder of the packages that are shared."""


CONFIGS = (".json", ".yaml", ".yml", ".conf")


@dataclass(frozen=True)
class ShareOptions:
    """User-specified information on a shared bundle; see the options of `scripts.share`."""

    version: str | None = None
    changelog: str | None = None
    authors: str | None = None
    data_licence: str | None = None
    formats: tuple[str, ...] = ("pt", "ts", "pt2")


@dataclass(frozen=True)
class Shared:
    """Summary of a written zip."""

    path: Path
    version: str
    sha256: str
    files: int
    size: int
    exports: dict[str, float]
    large_files: list[str]


def share(bundle: str, out: Path, output_dir: Path | None, options: ShareOptions, overwrite: bool = False) -> Shared:
    """Write a zip with a trained bundle and everything it needs.

    Args:
        bundle: name or path.
        out: zip file, or folder for it.
        output_dir: see `find_trained`.
        options: information on the bundle.
        overwrite: replace an existing zip.

    Raises:
        UserError: there is no trained model or no license of the data, the zip exists, or an export differs.
    """
    check_out(out)
    trained = find_trained(bundle, output_dir)
    check_terms(trained, options.data_licence)
    check_documents(trained)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / trained.name
        metadata = stage(trained, folder, options)
        path = zip_path(out, trained.name, metadata["version"], overwrite)
        metadata["exports"] = run_exports(folder, options.formats)
        write_documents(trained, folder, metadata, options.data_licence)
        large = archive.write_large_files(folder)
        archive.write_sums(folder)
        paths = (folder, project_root(), CODE, trained.weights.parents[1], Path.home(), Path(sys.prefix))
        archive.refuse_traces(folder, paths)
        archive.write_zip(folder, path)
        count = len(archive.files_in(folder))
    digest, size = file_sha256(path), path.stat().st_size
    return Shared(path, metadata["version"], digest, count, size, metadata["exports"], large)


def check_terms(trained: Trained, stated: str | None) -> None:
    """Refuse to share weights without the terms of their data.

    Raises:
        UserError: neither the data set nor the user states a license.
    """
    if not trained.settings.get("licence") and not stated:
        raise UserError(
            f"{trained.settings['dataset']}: no license is recorded for the data set that these weights were trained "
            "on; give --data_licence, such as 'CC BY 4.0' or 'own data, shared with the ethics board's consent'"
        )


def check_out(out: Path) -> None:
    """Fail before minutes of exporting if the zip cannot be written.

    Raises:
        UserError: the folder or one of its parents is a file.
    """
    folder = out.parent if _is_zip(out) else out
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if there.exists() and not there.is_dir():
        raise UserError(f"{there}: is a file; expected a folder or a path that ends in .zip; give another OUT")


def _is_zip(out: Path) -> bool:
    return out.suffix.lower() == ".zip"


def zip_path(out: Path, name: str, version: str, overwrite: bool) -> Path:
    """Return `out` if it ends in .zip, else mammoseg_<name>_v<version>.zip in it.

    Raises:
        UserError: the file exists and may not be replaced, or is a folder.
    """
    path = out if _is_zip(out) else out / f"mammoseg_{name}_v{version}.zip"
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file or another folder")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists; choose another --version or OUT, or give --overwrite")
    return path


def stage(trained: Trained, folder: Path, options: ShareOptions) -> dict[str, Any]:
    """Write configs, code, weights and metadata.json; return the metadata."""
    (folder / "configs").mkdir(parents=True)
    for path in sorted(trained.bundle.glob("configs/*")):
        if path.suffix in CONFIGS and path.is_file() and not path.name.startswith("."):
            text = path.read_text(encoding="utf-8").replace('"$import mammoseg", ', "")  # specific to an installation
            (folder / "configs" / path.name).write_text(text, encoding="utf-8", newline="\n")
    for name in ("LICENSE", FILE):
        if name != FILE or (trained.bundle / name).is_file():
            shutil.copyfile(trained.bundle / name, folder / name)
    (folder / "models").mkdir()
    shutil.copyfile(trained.weights, folder / "models" / "model.pt")
    write_json(folder / "models" / "model.json", trained.settings)
    files = copy_code(CODE, trained.bundle, folder)
    metadata = complete(
        trained,
        packages={**required_packages(files), **network_package(trained)},
        multiple=_multiple(trained),
        version=options.version,
        changelog=options.changelog,
        authors=options.authors,
        data_licence=options.data_licence,
    )
    write_json(folder / "configs" / "metadata.json", metadata)
    return metadata


def write_documents(trained: Trained, folder: Path, metadata: dict[str, Any], stated: str | None) -> None:
    """Write docs/ and the final metadata.json."""
    write_json(folder / "configs" / "metadata.json", metadata)
    texts = {
        "README.md": documents.readme(trained, metadata),
        "data_license.txt": documents.data_licence(trained, stated),
    }
    guides = (CODE / "docs" / name for name in documents.GUIDES)
    texts.update({path.name: documents.guide(path) for path in guides if path.is_file()})
    (folder / "docs").mkdir()
    for name, text in texts.items():
        (folder / "docs" / name).write_text(text, encoding="utf-8", newline="\n")


def run_exports(folder: Path, formats: tuple[str, ...]) -> dict[str, float]:
    """Export in a separate process; see `scripts.sharing.exports`.

    Raises:
        UserError: the export failed; the message is its last line of output.
    """
    path = os.pathsep.join(filter(None, (str(CODE), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-m", "scripts.sharing.exports", str(folder), *formats]
    done = subprocess.run(command, cwd=CODE, env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()] or ["no output"]
        raise UserError(f"--formats {','.join(formats)}: {lines[-1].removeprefix('error: ')}")
    differences: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return differences


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON, with the same bytes on every system."""
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def _multiple(trained: Trained) -> int:
    """Return the divisor required of image sides."""
    parser = ConfigParser()
    parser.read_config(str(trained.bundle / "configs" / "inference.json"))
    parser["output_dir"] = str(trained.weights.parents[1])
    return size_multiple(parser.get_parsed_content("network_def"))
