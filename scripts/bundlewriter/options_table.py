"""Table of docs/options.md: every option, the configs that have it, and its description."""

from __future__ import annotations

import re

from scripts.bundlewriter.source import RUNNING, Common
from transforms.errors import UserError

BEGIN = "<!-- The table down to the next comment is written by `make bundles` from bundles/common/options.json. -->"
END = "<!-- End of the table. -->"


def options_page(text: str | None, common: Common) -> str:
    """Return `text` with the table between the two comments updated.

    Raises:
        UserError: the comments are missing.
    """
    found = re.search(rf"{re.escape(BEGIN)}.*?{re.escape(END)}", text or "", re.DOTALL)
    if text is None or found is None:
        raise UserError(f"docs/options.md: expected a table between {BEGIN} and {END}; restore these comments")
    return text[: found.start()] + f"{BEGIN}\n\n{options_table(common)}\n{END}" + text[found.end() :]


def options_table(common: Common) -> str:
    """Return the table, with rows in the order of options.json."""
    rows = [["option", *RUNNING, "meaning"], ["---", *[":---:"] * len(RUNNING), "---"]]
    for name, about in common.options.items():
        there = [config in about or (config == "train" and "recipe" in about) for config in RUNNING]
        rows.append([f"`{name}`", *("✓" if yes else "" for yes in there), about["_desc_"].replace("|", "\\|")])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
