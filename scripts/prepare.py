"""Turn mammograms and their annotations into a dataset folder that every bundle reads.

    python -m scripts.prepare folder IMAGES LABELS OUT --values "0=background,255=tumor"
    python -m scripts.prepare qupath IMAGES OUT --classes "background,mammary gland,tumor"

Writes OUT/dataset.json, OUT/images/*.npy and OUT/labels/*.npy, split by subject, without names, identifiers or
dates. Prints a table of what was written (`--json`: the same for programs). Exit code 0, or one line and 2.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scripts.importers.folder import import_folder
from scripts.importers.integrity import check_dataset
from scripts.importers.qupath import import_qupath
from scripts.importers.sheet import write_sheet
from scripts.importers.tables import report_dict, report_table, summary_dict, summary_table
from scripts.importers.writer import Summary, check_private_map, write_private_map
from transforms.errors import UserError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Turn mammograms and their annotations into a dataset folder that every bundle reads.",
)

Images = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="Folder of DICOM files or pictures; subfolders are searched.")
]
Labels = Annotated[
    Path, typer.Argument(metavar="LABELS", help="Folder of label images, named as their images or with a suffix.")
]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Dataset folder to make.")]
Values = Annotated[
    str | None,
    typer.Option(help='Grey value of each class, first class first: "0=background,128=gland,255=tumor".'),
]
Subject = Annotated[
    str | None,
    typer.Option(
        help="Regular expression for the subject in a path. Default: PatientID, else the name without side and view."
    ),
]
Validation = Annotated[float, typer.Option(help="Share of the subjects that is validated on.")]
Seed = Annotated[int, typer.Option(help="Another seed draws another split.")]
SplitBy = Annotated[
    str,
    typer.Option("--split_by", help="subject, or image: as in the paper, optimistic if subjects have several."),
]
Windowing = Annotated[str, typer.Option(help="voi (the DICOM's own), none, or percentile (0.5 to 99.5 of each image).")]
Bits = Annotated[int | None, typer.Option(min=1, max=16, help="Bits that pictures really use, such as 12.")]
Name = Annotated[str | None, typer.Option(help="Name of the dataset. Default: of OUT.")]
Licence = Annotated[str, typer.Option(help="Terms under which the data may be used.")]
Reference = Annotated[str, typer.Option(help="What to cite.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is a dataset folder.")]
Strict = Annotated[bool, typer.Option("--strict", help="An image that cannot be read is an error.")]
PrivateMap = Annotated[
    Path | None,
    typer.Option("--private_map", help="Also write which file became which case. Keep it private."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


@app.command()
def folder(
    images: Images,
    labels: Labels,
    out: Out,
    values: Values = None,
    ignore: Annotated[str, typer.Option(help='Grey values without a class, as in "7,255".')] = "",
    suffix: Annotated[str | None, typer.Option(help="Ending of label names. Default: found out.")] = None,
    unlabelled: Annotated[str, typer.Option(help="Images without label: error, skip, or keep.")] = "error",
    subject: Subject = None,
    validation: Validation = 0.3,
    seed: Seed = 0,
    split_by: SplitBy = "subject",
    windowing: Windowing = "voi",
    bits: Bits = None,
    name: Name = None,
    licence: Licence = "",
    reference: Reference = "",
    overwrite: Overwrite = False,
    strict: Strict = False,
    private_map: PrivateMap = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Images with label images (PNG, TIFF, NIfTI, …) in which each grey value is a class."""
    if private_map is not None:
        check_private_map(private_map, out)
    summary = import_folder(
        images,
        labels,
        out,
        values=parse_values(values) if values else None,
        ignore=parse_numbers(ignore),
        suffix=suffix,
        unlabelled=unlabelled,
        subject=subject,
        validation=validation,
        seed=seed,
        split_by=split_by,
        windowing=windowing,
        bits=bits,
        name=name,
        licence=licence,
        reference=reference,
        overwrite=overwrite,
        strict=strict,
        progress=not quiet,
    )
    _finish(summary, private_map, as_json)


@app.command()
def qupath(
    images: Images,
    out: Out,
    classes: Annotated[
        str, typer.Option(help='Class names, "background,gland,tumor"; the last wins where they overlap.')
    ],
    merge: Annotated[str, typer.Option(help='Annotation classes to join: "skin=gland,text=background".')] = "",
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of IMAGE.geojson files. Default: beside the images.")
    ] = None,
    precedence: Annotated[
        str, typer.Option(help="Class that wins over all others first. Default: --classes from the last on.")
    ] = "",
    unannotated: Annotated[str, typer.Option(help="Images without GeoJSON: error, background, or skip.")] = "error",
    subject: Subject = None,
    validation: Validation = 0.3,
    seed: Seed = 0,
    split_by: SplitBy = "subject",
    windowing: Windowing = "voi",
    bits: Bits = None,
    name: Name = None,
    licence: Licence = "",
    reference: Reference = "",
    overwrite: Overwrite = False,
    strict: Strict = False,
    private_map: PrivateMap = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Images annotated in QuPath, with one exported GeoJSON file each."""
    if private_map is not None:
        check_private_map(private_map, out)
    summary = import_qupath(
        images,
        out,
        classes=parse_names(classes),
        merge=parse_pairs(merge, "--merge"),
        annotations=annotations,
        precedence=parse_names(precedence),
        unannotated=unannotated,
        subject=subject,
        validation=validation,
        seed=seed,
        split_by=split_by,
        windowing=windowing,
        bits=bits,
        name=name,
        licence=licence,
        reference=reference,
        overwrite=overwrite,
        strict=strict,
        progress=not quiet,
    )
    _finish(summary, private_map, as_json)


@app.command()
def check(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset folder.")],
    sheet: Annotated[Path | None, typer.Option(help="Also write thumbnails with labels as PNG.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read a whole dataset folder and report what is wrong; exit code 1 if something is."""
    report = check_dataset(dataset, progress=not quiet)
    if sheet is not None:
        write_sheet(report.dataset, sheet)
    if as_json:
        print(json.dumps(report_dict(report), indent=1, ensure_ascii=False))
    else:
        Console().print(report_table(report))
        for kind, lines in (("error", report.errors), ("warning", report.warnings)):
            for line in lines:
                print(f"{kind}: {line}")
    if report.errors:
        raise typer.Exit(1)


def parse_names(text: str) -> list[str]:
    """Names between commas, without the spaces around them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_pairs(text: str, option: str) -> dict[str, str]:
    """ "a=b,c=d" as {"a": "b", "c": "d"}; a key that comes twice is an error."""
    pairs: dict[str, str] = {}
    for part in parse_names(text):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise UserError(f"{option}: {part!r} is not of the form left=right")
        if key in pairs:
            raise UserError(f"{option}: {key!r} comes twice; leave one out")
        pairs[key] = value
    return pairs


def parse_values(text: str) -> dict[int, str]:
    """ "0=background,255=tumor" as {0: "background", 255: "tumor"}."""
    pairs = parse_pairs(text, "--values")
    return dict(zip(parse_numbers(",".join(pairs), "--values"), pairs.values(), strict=True))


def parse_numbers(text: str, option: str = "--ignore") -> list[int]:
    """Whole numbers between commas."""
    for part in parse_names(text):
        if not part.isdecimal():
            raise UserError(f"{option}: {part!r} is not a grey value; expected a whole number from 0 to 255")
    return [int(part) for part in parse_names(text)]


def _finish(summary: Summary, private_map: Path | None, as_json: bool) -> None:
    if private_map is not None:
        write_private_map(private_map, summary)
    if as_json:
        print(json.dumps(summary_dict(summary), indent=1, ensure_ascii=False))
        return
    Console().print(summary_table(summary))
    errors = Console(stderr=True, highlight=False)
    for path, reason in summary.rejected[:20]:
        errors.print(f"left out: {reason if str(path) in reason else f'{path}: {reason}'}", markup=False)
    if len(summary.rejected) > 20:
        errors.print(f"left out: {len(summary.rejected) - 20} more images; --json lists them all")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        app(args=None if argv is None else list(argv), prog_name="python -m scripts.prepare")
    except SystemExit as end:  # typer has printed its help, or what is wrong with the options
        return end.code if isinstance(end.code, int) else 2
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or 'OUT'}: {error.strerror}; check the disk and its rights", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
