"""Files of a run: missing is not the same as unreadable."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from scripts.comparison.run_files import run_file
from scripts.comparison.store import _answering
from transforms.errors import UserError


class Server:
    """A client of a server that has eval/a.json and does or does not return it."""

    def __init__(self, answers: bool) -> None:
        self.answers = answers

    def list_artifacts(self, run_id: str, path: str) -> list[Any]:
        assert (run_id, path) == ("r", "eval")
        return [SimpleNamespace(path="eval/a.json")]

    def download_artifacts(self, run_id: str, path: str, folder: str) -> str:
        if not self.answers or path != "eval/a.json":
            raise MlflowException("The following failures occurred while downloading one or more artifacts")
        target = Path(folder, "a.json")
        target.write_bytes(b"{}")
        return str(target)


def read(answers: bool, path: str) -> bytes | None:
    client: Any = Server(answers)
    return run_file(client, "r", "mlflow-artifacts:/1/r/artifacts", path)


def test_files_of_a_server() -> None:
    assert read(True, "eval/a.json") == b"{}"
    assert read(True, "eval/b.json") is None
    with pytest.raises(UserError, match=r"does not answer \(The following failures"), _answering("http://x"):
        read(False, "eval/a.json")


def test_local_files(tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "a.json").write_bytes(b"{}")
    client: Any = None
    for uri in (str(tmp_path), tmp_path.as_uri()):
        assert run_file(client, "r", uri, "eval/a.json") == b"{}"
        assert run_file(client, "r", uri, "eval/b.json") is None
        assert run_file(client, "r", uri, "eval/a.json/b.json") is None
        with pytest.raises(UserError, match="Is a directory"), _answering("sqlite:///x"):
            run_file(client, "r", uri, "eval")
