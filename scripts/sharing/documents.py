"""docs/ of a shared bundle: documents of the bundle, completed from this training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.base.loss_parameters import flat_parameters
from engines.base.replaced_options import upgraded
from engines.records.score_table import MEAN_TITLES
from scripts.sharing.results import options_as_run, results
from scripts.sharing.trained import Trained

GUIDES = ("data.md", "options.md", "losses.md", "evaluation.md", "clinical.md")
"""Documents of the repository that the README and error messages refer to."""

FIGURES = "### What to expect"
"""Section of a bundle's README with figures of the repository's own trainings."""


def readme(trained: Trained, metadata: Mapping[str, Any]) -> str:
    """Return the bundle's README with the data, classes and scores of this training.

    Figures of other trainings are removed, and commands adapted to the unzipped folder.
    """
    text = (trained.bundle / "docs" / "README.md").read_text(encoding="utf-8")
    text = replace_section(text, "## Data", _data(trained, metadata))
    text = replace_section(text, FIGURES, "")
    text = replace_section(text, "## Options as run", options_as_run(trained))
    text = insert_before(text, "## Training", _scores(trained) + results(trained) + _use(trained, metadata))
    return local_commands(text)


def replace_section(text: str, heading: str, new: str) -> str:
    """Replace a section, up to the next heading of its level or above, by `new`; append `new` if it is missing."""
    level = heading.split(" ")[0]
    found = re.search(rf"^{re.escape(heading)}\n.*?(?=^#{{1,{len(level)}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        return f"{text.rstrip()}\n\n{new}".rstrip() + "\n"
    return text[: found.start()] + new + text[found.end() :]


def insert_before(text: str, heading: str, new: str) -> str:
    """Insert `new` before a heading; append it if the heading is missing."""
    before, found, after = text.partition(f"{heading}\n")
    return f"{before}{new}{found}{after}" if found else f"{text.rstrip()}\n\n{new}"


def local_commands(text: str) -> str:
    """Adapt commands to the unzipped folder."""
    return re.sub(r"bundles/[\w-]+/(configs|docs|models|eval)\b", r"\1", text)


def guide(path: Path) -> str:
    """Return a document of the repository, with links to files that are not shared replaced by plain text."""

    def keep(link: re.Match[str]) -> str:
        target = link.group(2)
        there = "://" in target or target.startswith("#") or target.split("#")[0] in (*GUIDES, *_SHARED)
        return link.group(0) if there else link.group(1)

    return local_commands(re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", keep, path.read_text(encoding="utf-8")))


_SHARED = ("../transforms/dataset.schema.json", "README.md")


def data_licence(trained: Trained, stated: str | None) -> str:
    """Return docs/data_license.txt: terms and citation of the data, as recorded at its preparation."""
    settings = trained.settings
    lines = [
        f"The weights in models/ were trained on the data set: {settings['dataset']}",
        "",
        f"License, as recorded with the data set: {settings.get('licence') or 'none recorded'}",
        *([f"Terms stated when sharing the weights: {stated}"] if stated else []),
        f"Reference, as recorded with the data set: {settings.get('reference') or 'none recorded'}",
        f"SHA-256 of its content (engines, Dataset.digest): {settings.get('dataset_digest', 'not recorded')}",
        "",
        "This bundle contains no image, label or identifier of that data set. Use of the weights is subject to the",
        "terms above as far as they apply: read them, cite the reference, and ask the owner of the data if in doubt.",
    ]
    terms = f"{settings.get('licence', '')} {stated or ''}".upper()
    if re.search(r"\bNC\b|NON-?\s?COMMERCIAL", terms):
        lines.append("NC in a license: not for commercial use.")
    if re.search(r"\bND\b|NO-?\s?DERIV", terms):
        lines.append("ND in a license: adapted data may not be shared; this bundle shares weights, not data.")
    return "\n".join(lines) + "\nThe code has a separate license: see LICENSE.\n"


def _data(trained: Trained, metadata: Mapping[str, Any]) -> str:
    facts, rules = metadata["dataset"], metadata["intensity"]
    height = f"resized to {rules['image_height']} rows" if rules["image_height"] else "used at the stored size"
    reference = f" Reference: {facts['reference'].rstrip('.')}." if facts["reference"] else ""
    return (
        f"## Data\n\nTrained on the data set {facts['name']}.{reference} Terms: [data_license.txt](data_license.txt).\n"
        f"Gray values: windowing `{rules['windowing']}`; images are {height}.\n\n"
        "| channel | class |\n|---|---|\n"
        + "".join(f"| {number} | {name} |\n" for number, name in enumerate(trained.classes))
        + "\nPrepare other data sets to score or train on with `python -m scripts.prepare` ([data.md](data.md)).\n\n"
    )


_CHOICE = {
    "best": "The epoch was selected by these validation scores; expect lower scores on other data.",
    "last": "These are the weights of the last epoch, selected without validation scores.",
}


def _scores(trained: Trained) -> str:
    settings, scores = trained.settings, trained.scores
    choice = _CHOICE.get(str(settings.get("keep")), _CHOICE["best"])
    means = [(title, scores.get(key)) for key, title in MEAN_TITLES.items()]
    rows = [
        f"| {name} | {_percent(scores.get(f'iou/{name}'))} | {_percent(scores.get(f'dice/{name}'))} |\n"
        for name in trained.classes
    ]
    return (
        f"## Scores\n\nValidation part of {settings['dataset']}, per cent; stage `{settings['stage']}`, "
        f"epoch {settings.get('epoch')}, recipe `{settings.get('recipe')}`, seed {settings.get('seed')}:\n\n"
        f"| {' | '.join(title for title, _ in means)} |\n|{'---|' * len(means)}\n"
        f"| {' | '.join(_percent(value) for _, value in means)} |\n\n"
        "| class | IoU | Dice |\n|---|---|---|\n"
        + "".join(rows)
        + f"\n{choice} A dash: the class occurs in neither truth nor prediction.\n{_loss(settings)}\n\n"
    )


def _loss(settings: Mapping[str, Any]) -> str:
    """Return a sentence on the loss of the training; empty if not recorded."""
    options = upgraded(settings)
    if "loss" not in options:
        return ""
    used = options.get("loss_parameters", {})
    flat = flat_parameters(used)
    sentence = f"Loss `{options['loss']}` ({flat['loss_parameters']})"
    if used.get("class_weights"):
        sentence += f", class weights `{options['class_weights']}` ({flat['class_weights_used']})"
    elif "class_weights" in used:
        sentence += ", no class weights"
    if options.get("ema_decay"):
        sentence += f"; moving average of the weights, decay {options['ema_decay']:g}"
    return sentence + "."


def _use(trained: Trained, metadata: Mapping[str, Any]) -> str:
    files = "".join(f"| `models/{name}` | {value:.1e} |\n" for name, value in metadata.get("exports", {}).items())
    packages = " ".join(f"{name}=={number}" for name, number in metadata["required_packages_version"].items())
    return (
        "## Use\n\nThis folder is self-contained; run the commands inside it. Configs execute code: review them\n"
        "and the code before the first run, and verify the files with `sha256sum --check SHA256SUMS`.\n\n"
        f"    pip install monai=={metadata['monai_version']} torch=={metadata['pytorch_version']} {packages}\n"
        "    python -m monai.bundle run --config_file configs/inference.json --dataset_dir FOLDER\n\n"
        "Training writes to models/ and eval/: give `--output_dir PATH` to keep these weights, and `--init_weights "
        "models/model.pt`\nto start from them.\n\n"
        "| file | largest difference of a logit from model.pt, two image sizes |\n|---|---|\n" + files + "\n"
        "In Python, inside this folder: `monai.bundle.load("
        f"'{trained.name}', bundle_dir='..', workflow_type='inference')`.\n\n"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
