"""Entries accepted by the quick check fit the schema; messages on others are those of the validator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import dataset_schema
from transforms.dataset_schema import FILE, check_schema, plain_items
from transforms.errors import UserError

SCHEMA = json.loads(FILE.read_text())
ITEM = {
    "image": "images/a.npy",
    "label": "labels/a.npy",
    "subject": "s1",
    "subject_hash": "0" * 32,
    "laterality": "L",
    "view": "CC",
    "spacing_mm": [0.1, 1],
    "spacing_source": "ImagerPixelSpacing",
    "intensity_range": [0, 4095],
    "intensity_source": "window",
    "burned_in": True,
    "flipped": False,
    "attributes": {"density": "c"},
    "source_sha256": "0" * 64,
    "image_sha256": "a" * 64,
    "label_sha256": "f" * 64,
    "something_else": [1],
}
HEAD = {"format_version": 1, "name": "n", "labels": {}, "ignore_label": None, "pixel_fraction": {}, "validation": []}


def valid(item: Any) -> bool:
    schema = {"$defs": SCHEMA["$defs"], "$ref": "#/$defs/item"}
    return bool(jsonschema.Draft202012Validator(schema).is_valid(item))


def test_a_usual_entry_needs_no_validator(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = dict.fromkeys(("label", "laterality", "view", "spacing_mm", "burned_in", "label_sha256"))
    assert plain_items([ITEM])
    assert plain_items([{**ITEM, **nothing}, ITEM])
    assert set(SCHEMA["$defs"]["item"]["properties"]) == set(dataset_schema._RULES)
    assert set(SCHEMA["$defs"]["item"]["required"]) == set(dataset_schema._REQUIRED)
    check_schema(Path("dataset.json"), {**HEAD, "training": [ITEM]})


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1.0, 0.0, 2**70, "", "L", "../a", "a/..", "/a", "a\\b", "a\n", "0" * 64 + "\n", "0" * 63]),
    st.lists(st.sampled_from([0, 1.5, -1, True, None, "1"]), max_size=3),
    st.dictionaries(st.sampled_from(["a", "A", "a b", "a" * 33, "a\n"]), st.sampled_from(["", "x", 1, "x" * 65])),
)


@given(st.sampled_from(sorted(ITEM)), ODD)
def test_what_is_told_to_fit_does(key: str, value: Any) -> None:
    item = {**ITEM, key: value}
    assert not plain_items([ITEM, item]) or valid(item)


@pytest.mark.parametrize("item", [None, [], "x", *({k: v for k, v in ITEM.items() if k != r} for r in ITEM)])
def test_entries_that_lack_something(item: Any) -> None:
    assert plain_items([ITEM, item]) == plain_items([item, ITEM]) == valid(item)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ([ITEM, {**ITEM, "laterality": "LEFT"}], r"\['training'\]\[1\]\['laterality'\]: 'LEFT' is not one of"),
        ({}, r"\['training'\]: {} is not of type 'array'"),
    ],
    ids=["side", "no list"],
)
def test_the_validator_tells_what_is_wrong(section: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_schema(Path("dataset.json"), {**HEAD, "training": section})


def test_what_only_the_validator_knows_to_fit_fits() -> None:
    item = {**ITEM, "intensity_range": [0.0, 4095.0]}
    assert not plain_items([item])
    check_schema(Path("dataset.json"), {**HEAD, "training": [item]})
