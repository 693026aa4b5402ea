"""Convert mammograms and their annotations to a dataset folder that every bundle reads.

    python -m scripts.prepare folder IMAGES LABELS OUT --values "0=background,255=tumor"
    python -m scripts.prepare qupath IMAGES OUT --classes "background,mammary gland,tumor"
    python -m scripts.prepare via IMAGES ANNOTATIONS OUT --classes "background,tumor"
    python -m scripts.prepare coco IMAGES ANNOTATIONS OUT
    python -m scripts.prepare dicom IMAGES OUT
    python -m scripts.prepare csaw-s CSAWS OUT
    python -m scripts.prepare cbis-ddsm DOWNLOAD OUT --tables CSV
    python -m scripts.prepare inbreast RELEASE OUT
    python -m scripts.prepare cdd-cesm RELEASE OUT
    python -m scripts.prepare cityscapes ROOT OUT
    python -m scripts.prepare crops DATASET OUT --crop_size 256
    python -m scripts.prepare export-nnunet DATASET OUT
    python -m scripts.prepare check DATASET

Writes OUT/dataset.json, OUT/images/*.npy and OUT/labels/*.npy, split by subject, without names, identifiers or
dates. Prints a summary table (`--json`: the same as JSON). Exit code 0, or 2 after a one-line error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from scripts.commandline import Commands, run_app
from scripts.importers.arguments import parse_names, parse_numbers, parse_pairs, parse_values
from scripts.importers.export_command import export_nnunet
from scripts.importers.import_options import SOURCE_OPTIONS, ImportOptions
from scripts.importers.label_options import Classes, Merge, Precedence, PrecedenceOfClasses, Smooth, Task
from scripts.importers.labels.point_radius import POINT_RADIUS
from scripts.importers.listed_commands import coco, via
from scripts.importers.shared_options import Images, Out, with_shared_options
from scripts.importers.writing.import_summary import Summary
from transforms.plain_text import one_line

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Convert mammograms and their annotations to a dataset folder that every bundle reads.",
)

Labels = Annotated[
    Path, typer.Argument(metavar="LABELS", help="Folder of label images, named like their images or with a suffix.")
]
Values = Annotated[
    str | None,
    typer.Option(help='Gray value of each class, first class first: "0=background,128=gland,255=tumor".'),
]


@app.command()
@with_shared_options
def folder(
    images: Images,
    labels: Labels,
    out: Out,
    values: Values = None,
    ignore: Annotated[str, typer.Option(help='Gray values without a class, as in "7,255".')] = "",
    suffix: Annotated[str | None, typer.Option(help="Suffix of label names. Default: detected.")] = None,
    unlabelled: Annotated[str, typer.Option(help="Images without a label: error, skip, or keep.")] = "error",
    task: Task = "anatomy",
    *,
    common: ImportOptions,
) -> Summary:
    """Images with label images (PNG, TIFF, NIfTI, …) in which each gray value is a class."""
    from scripts.importers.sources.folder import import_folder

    return import_folder(
        images,
        labels,
        out,
        common,
        values=parse_values(values) if values else None,
        ignore=parse_numbers(ignore),
        suffix=suffix,
        unlabelled=unlabelled,
        task=task,
    )


@app.command()
@with_shared_options
def qupath(
    images: Images,
    out: Out,
    classes: Classes,
    merge: Annotated[str, typer.Option(help='Annotation classes to merge: "skin=gland,text=background".')] = "",
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of IMAGE.geojson files. Default: beside the images.")
    ] = None,
    precedence: PrecedenceOfClasses = "",
    unannotated: Annotated[str, typer.Option(help="Images without GeoJSON: error, background, or skip.")] = "error",
    smooth: Smooth = 0.0,
    task: Task = "anatomy",
    *,
    common: ImportOptions,
) -> Summary:
    """Images annotated in QuPath, with one exported GeoJSON file each."""
    from scripts.importers.sources.qupath import import_qupath

    return import_qupath(
        images,
        out,
        common,
        classes=parse_names(classes),
        merge=parse_pairs(merge, "--merge"),
        annotations=annotations,
        precedence=parse_names(precedence),
        unannotated=unannotated,
        smooth=smooth,
        task=task,
    )


app.command()(via)
app.command()(coco)


@app.command()
@with_shared_options
def dicom(images: Images, out: Out, *, common: ImportOptions) -> Summary:
    """DICOM images without labels, for inference or later annotation."""
    from scripts.importers.sources.dicom_folder import import_dicom

    return import_dicom(images, out, common)


@app.command()
@with_shared_options
def csaw_s(
    images: Annotated[
        Path, typer.Argument(metavar="CSAWS", help="Folder that holds anonymized_dataset and test_data.")
    ],
    out: Out,
    annotator: Annotated[
        str, typer.Option(help="Annotator of the test images' masks: 1, 2, 3, or majority.")
    ] = "majority",
    merge: Merge = "",
    precedence: Precedence = "",
    smooth: Smooth = 0.0,
    task: Task = "anatomy",
    *,
    common: ImportOptions,
) -> Summary:
    """CSAW-S: a binary mask for each of 11 structures; test images annotated by three experts."""
    from scripts.importers.sources.csaw_s import import_csaw_s
    from scripts.importers.writing.given_split import split_word

    split, common = split_word(common, ("suggested", "drawn"))
    return import_csaw_s(
        images,
        out,
        common,
        annotator=annotator,
        split=split,
        merge=parse_pairs(merge, "--merge"),
        precedence=parse_names(precedence),
        smooth=smooth,
        task=task,
    )


@app.command()
@with_shared_options
def cbis_ddsm(
    images: Annotated[Path, typer.Argument(metavar="DOWNLOAD", help="Folder of the archive's own download.")],
    out: Out,
    tables: Annotated[Path | None, typer.Option(help="Folder of the four CSV tables. Default: below DOWNLOAD.")] = None,
    merge: Merge = "",
    precedence: Precedence = "",
    smooth: Smooth = 0.0,
    task: Task = "anatomy",
    *,
    common: ImportOptions,
) -> Summary:
    """CBIS-DDSM: film mammograms with masks of masses and calcifications, from The Cancer Imaging Archive."""
    from scripts.importers.sources.cbis_ddsm import import_cbis_ddsm
    from scripts.importers.writing.given_split import split_word

    split, common = split_word(common, ("official", "drawn"))
    return import_cbis_ddsm(
        images,
        out,
        common,
        tables=tables,
        split=split or "official",
        merge=parse_pairs(merge, "--merge"),
        precedence=parse_names(precedence),
        smooth=smooth,
        task=task,
    )


@app.command()
@with_shared_options
def inbreast(
    images: Annotated[Path, typer.Argument(metavar="RELEASE", help="Folder that holds AllDICOMs and AllXML.")],
    out: Out,
    merge: Merge = "",
    precedence: Annotated[
        str, typer.Option(help="Classes that win where they overlap, the highest first. Default: the smaller region.")
    ] = "",
    radius: Annotated[
        float, typer.Option(help="Radius in pixels of the disk for a region of one or two points.")
    ] = POINT_RADIUS,
    smooth: Smooth = 0.0,
    task: Task = "anatomy",
    *,
    common: ImportOptions,
) -> Summary:
    """INbreast: digital mammograms with outlines of findings and of the pectoral muscle."""
    from scripts.importers.sources.inbreast import import_inbreast

    return import_inbreast(
        images,
        out,
        common,
        merge=parse_pairs(merge, "--merge"),
        precedence=parse_names(precedence),
        radius=radius,
        smooth=smooth,
        task=task,
    )


@app.command()
@with_shared_options
def cdd_cesm(
    images: Annotated[Path, typer.Argument(metavar="RELEASE", help="Folder of the release, with its subfolders.")],
    out: Out,
    tables: Annotated[Path | None, typer.Option(help="Folder of the two tables. Default: below RELEASE.")] = None,
    energy: Annotated[str, typer.Option(help="low (DM), subtracted (CM) or both.")] = "low",
    findings: Annotated[
        str, typer.Option(help='Findings that count as tumor, such as "mass,distortion"; pixels of others are ignored.')
    ] = "all",
    benign: Annotated[str, typer.Option(help="Class of benign outlines: background, tumor or ignore.")] = "background",
    *,
    common: ImportOptions,
) -> Summary:
    """CDD-CESM: low-energy and subtracted contrast-enhanced mammograms with outlined findings."""
    from scripts.importers.sources.cdd_cesm import import_cdd_cesm

    return import_cdd_cesm(
        images,
        out,
        common,
        tables=tables,
        energy=energy,
        findings=parse_names(findings),
        benign=benign,
    )


@app.command()
@with_shared_options
def cityscapes(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder that holds leftImg8bit/ and gtFine/.")],
    out: Out,
    *,
    common: ImportOptions,
) -> Summary:
    """Cityscapes as downloaded: 34 ids to the 19 evaluated classes, official splits, color."""
    from scripts.importers.sources.cityscapes import import_cityscapes

    return import_cityscapes(root, out, common)


@app.command()
@with_shared_options(without=[*SOURCE_OPTIONS, "flip", "licence", "reference", "intent"])
def crops(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset folder with labels.")],
    out: Out,
    crop_size: Annotated[
        int, typer.Option("--crop_size", min=0, help="Side in pixels: 256, 700, 900, 1500; 0: whole images.")
    ] = 256,
    per_image: Annotated[int, typer.Option("--per_image", min=1, help="Crops per training image.")] = 10,
    augment: Annotated[int, typer.Option(min=1, help="Images per training image: the original and replicas.")] = 1,
    *,
    common: ImportOptions,
) -> Summary:
    """Balanced crops of a dataset's training images, with replicas (paper, sections 3.1.2 and 3.2)."""

    from scripts.importers.sources.materialized_crops import import_crops

    return import_crops(dataset, out, common, crop_size=crop_size, per_image=per_image, augment=augment)


app.command(name="export-nnunet")(export_nnunet)


@app.command()
def check(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset folder.")],
    other: Annotated[
        Path | None, typer.Option("--with", help="Another dataset folder: report common subjects, by --subject_key.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also write thumbnails with labels as PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Check every file of a dataset folder; exit code 1 after an error."""
    from rich.console import Console

    from scripts.importers.writing.integrity import check_dataset
    from scripts.importers.writing.subject_hash import shared_with
    from scripts.importers.writing.summary_tables import report_dict, report_table

    report = check_dataset(dataset, progress=not quiet, workers=None)
    if other is not None:
        report.warnings += shared_with(report.dataset, other)
    if as_json:
        print(json.dumps(report_dict(report), indent=1, ensure_ascii=False))
    else:
        Console().print(report_table(report))
        for kind, lines in (("error", report.errors), ("warning", report.warnings)):
            for line in lines:
                print(f"{kind}: {one_line(line)}")
    if sheet is not None:  # after the report, which is printed even if this fails
        from scripts.importers.writing.sheet import write_sheet

        write_sheet(report.dataset, sheet)
    if report.errors:
        raise typer.Exit(1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return run_app(app, "python -m scripts.prepare", argv)


if __name__ == "__main__":
    raise SystemExit(main())
