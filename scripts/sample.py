"""Make the embedded sample dataset: synthetic mammograms. Not patients, not for clinical use.

    python -m scripts.sample OUT [--subjects 56] [--seed 0] [--height 512] [--overwrite]

Files written, with the default settings (224 images of 512 x 384 pixels, 194 MB):

    OUT/source/p001/L_CC.dcm, L_CC.geojson, …   files as in a hospital: For Presentation DICOM, QuPath annotations
    OUT/dataset.json, images/, labels/          the same, imported like any dataset (`scripts.prepare qupath`)
    OUT/README.txt                              states that the data are synthetic

One seed gives the same pixels and labels on every machine. Subject k does not depend on the number of subjects.
Of two neighboring subjects exactly one has a mass, of 8 to 30 mm, in both views of one breast; a third of the masses
are in dense tissue.

The annotations name nine overlapping structures: "adipose tissue" covers the whole breast. The default label set keeps
the classes that a clinician would measure (background, adipose tissue, mammary gland, pectoral muscle, tumor) and
merges the others, a few pixels wide at this resolution, into their surroundings (see MERGE).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from scripts.commandline import run_app
from transforms.errors import UserError

NAME = "sample"
LICENCE = "Apache-2.0"
REFERENCE = "Synthetic mammograms made by mammoseg (python -m scripts.sample). Not for clinical use."

SUBJECTS = 56
HEIGHT = 512  # 0.47 mm per pixel: the smallest mass is 17 pixels wide

CLASSES = ("background", "adipose tissue", "mammary gland", "pectoral muscle", "tumor")
# "adipose tissue" is the lowest class within the breast and covers all of it. Structures merged into it are painted
# first, and gland, muscle or tumor over them: a small structure thus takes the class of its surroundings.
MERGE = {
    "skin": "adipose tissue",
    "nipple": "adipose tissue",
    "vessel": "adipose tissue",
    "calcification": "adipose tissue",
    "text": "background",
}

logger = logging.getLogger(__name__)


def ensure_sample(folder: str | Path) -> Path:
    """Make the default sample in `folder` unless its dataset.json exists; return the folder.

    Two processes may call this at once: each makes a sample in a temporary folder, the first to finish moves it into
    place, and the other discards its own. Raises UserError if the folder holds something else.
    """
    folder = Path(folder)
    if not _is_dataset(folder):
        logger.info("Making the synthetic sample dataset in %s (once, under a minute)", folder)
        try:
            make_sample(folder)
        except (UserError, OSError):
            if not _is_dataset(folder):  # no other process has made it in the meantime
                raise
    return folder


def make_sample(
    out: str | Path,
    subjects: int = SUBJECTS,
    seed: int = 0,
    height: int = HEIGHT,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Write the synthetic sample dataset atomically to `out`, and return it.

    `height` is in pixels, of a field of 240 mm. Raises UserError if `out` exists and is not an empty folder,
    unless `overwrite` is set and it is an older dataset.
    """
    from scripts.importers.import_options import ImportOptions
    from scripts.importers.sources.qupath import import_qupath
    from scripts.importers.writing.staging import staged_folder

    with staged_folder(Path(out), overwrite) as stage:
        write_sources(stage / "source", range(subjects), seed, height, progress)
        made = stage / "import"
        import_qupath(
            stage / "source",
            made,
            ImportOptions(name=NAME, seed=seed, licence=LICENCE, reference=REFERENCE, workers=1, progress=progress),
            classes=CLASSES,
            merge=MERGE,
        )
        for entry in sorted(made.iterdir()):
            entry.rename(stage / entry.name)
        made.rmdir()
        (stage / "README.txt").write_text(_readme(subjects, seed), encoding="utf-8", newline="\n")
    return Path(out)


def write_sources(source: Path, subjects: Sequence[int], seed: int, height: int, progress: bool) -> None:
    """Write `source`/p001/L_CC.dcm and L_CC.geojson … for the given subjects (from 0)."""
    from concurrent.futures import ThreadPoolExecutor

    from rich.console import Console
    from rich.progress import track

    from scripts.phantom.anatomy import SIDES, VIEWS
    from scripts.phantom.hospital import write_dicom
    from scripts.phantom.outlines import feature_collection
    from scripts.phantom.view import STRUCTURES, make_view

    def one(subject: int) -> None:
        folder = source / f"p{subject + 1:03d}"
        folder.mkdir(parents=True)
        for side in SIDES:
            for view_name in VIEWS:
                view = make_view(seed, subject, side, view_name, height)
                stem = f"{side}_{view_name}"
                write_dicom(view, seed, folder / f"{stem}.dcm")
                key = f"{seed}:{subject}:{stem}"
                text = feature_collection(view.masks, STRUCTURES, key)
                (folder / f"{stem}.geojson").write_text(text, encoding="ascii", newline="\n")

    # Threads, since numpy, scipy and zlib release the GIL; every view has its own random stream.
    pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
    console = Console(stderr=True)
    hidden = not (progress and console.is_terminal)
    try:
        done = pool.map(one, subjects)
        for _ in track(done, "drawing", len(subjects), console=console, transient=True, disable=hidden):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _is_dataset(folder: Path) -> bool:
    return (folder / "dataset.json").is_file()


def _readme(subjects: int, seed: int) -> str:
    from scripts.phantom.hospital import NOTICE

    return (
        f"{NOTICE}\n\n{subjects} synthetic subjects, seed {seed}, made by `python -m scripts.sample`.\n"
        "source/ holds the DICOM files and QuPath annotations, the rest is the dataset imported from them.\n"
    )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; must be new or empty.")],
    subjects: Annotated[int, typer.Option(min=2, help="Number of subjects, with 4 images each.")] = SUBJECTS,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the subjects.")] = 0,
    height: Annotated[int, typer.Option(min=128, max=4096, help="Height of an image in pixels.")] = HEIGHT,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier dataset in OUT.")] = False,
) -> None:
    """Make a dataset of synthetic mammograms with labels. Not patients, not for clinical use.

    Writes OUT/source (DICOM files and QuPath annotations, as in a hospital) and the dataset imported from
    them: OUT/dataset.json, images/ and labels/. One seed, one result, on every machine.
    """
    made = make_sample(out, subjects, seed, height, overwrite)
    typer.echo(f"{made}: {subjects} synthetic subjects, {4 * subjects} images. Not for clinical use.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after a one-line error."""
    return run_app(app, "python -m scripts.sample", argv)


if __name__ == "__main__":
    raise SystemExit(main())
