"""Texts with `#` and texts that look like Python, through MONAI's command line."""

from __future__ import annotations

import pytest
from fire.parser import DefaultParseValue
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from engines.base.command_values import as_given, check_number_signs, given_options, quoted
from transforms.errors import UserError


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=12))
def test_a_quoted_text_is_read_as_itself(text: str) -> None:
    assert DefaultParseValue(quoted(text)) == text


@pytest.mark.parametrize("text", ["mammoseg", "/data/run #1/a.db", "./data#2", "try #2", "sqlite:///a#1.db"])
def test_most_texts_need_no_quotes(text: str) -> None:
    assert quoted(text) == text


@pytest.mark.parametrize(("text", "expected"), [("exp #1", "'exp #1'"), ("1e3", "'1e3'"), ("None", "'None'")])
def test_texts_that_look_like_python_are_quoted(text: str, expected: str) -> None:
    assert quoted(text) == expected


@pytest.mark.parametrize("words", [["--dataset_dir", "data#2"], ["--dataset_dir=data#2"]])
def test_a_value_whose_end_is_lost_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError) as raised:
        check_number_signs(["run", "training", *words])
    assert str(raised.value) == (
        "--dataset_dir data#2: MONAI drops # and what follows; write --dataset_dir \"'data#2'\""
    )


@pytest.mark.parametrize("value", ["'data#2'", "./data#2", "{'note': 'a#b'}", "[16, 32]"])
def test_a_value_that_stays_whole_is_not_refused(value: str) -> None:
    check_number_signs(["--network_def#channels", value, f"--network_def#channels={value}"])


def test_options_of_a_command_line() -> None:
    words = ["run", "--a", "1", "--b=2=3", "--c", "-4"]
    assert sorted(given_options(words)) == [("a", "1"), ("b", "2=3"), ("c", "-4")]


def test_number_signs_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = ConfigParser({})
    parser.update({"run_name": "try #2", "note": "a::b"})
    after = parser.get_parsed_content("run_name")
    monkeypatch.setattr("sys.argv", ["run", "--run_name", "try #2"])
    assert [as_given(text) for text in (after, "a::b", 2024)] == ["try #2", "a::b", "2024"]
