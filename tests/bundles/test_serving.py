"""The network as an MLflow model: a graph for PyTorch, and a server that answers image files."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow.pytorch
import numpy as np
import pandas
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from PIL import Image

from engines.runs import serving
from engines.runs.serving import _load_pyfunc
from scripts.sharing.code import PACKAGES, package_files
from scripts.sharing.requirements import OWN_KEYS, required_packages

Run = Callable[..., None]


def logged_model(store: Path, folder: Path) -> Path:
    """Downloaded model of the only training."""
    client = MlflowClient(f"sqlite:///{store}")
    (found,) = client.search_logged_models([client.get_experiment_by_name("mammoseg").experiment_id])
    return Path(shutil.copytree(url2pathname(urlsplit(found.artifact_location).path), folder / "model"))


def test_the_network_is_an_mlflow_model_that_loads_without_unpickling(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_bundle(bundle="unet", dataset_dir=str(tiny_dataset), max_epochs=1, log_model=True)
    folder = logged_model(store, tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = mlflow.pytorch.load_model(str(folder))
    assert not any(
        path.startswith(str(folder)) for path in sys.path
    )  # no code of the model's folder was made importable
    signature = mlflow.models.Model.load(str(folder)).signature
    assert [spec.name for spec in (*signature.inputs.inputs, *signature.outputs.inputs)] == ["image", "segmentation"]
    with torch.no_grad():
        assert model(torch.zeros(3, 3, 48, 80)).shape == (3, 3, 48, 80)
    assert "torch==2" in (folder / "requirements.txt").read_text()
    assert_served_like_inference(folder, run_bundle, tiny_dataset, tmp_path)


def assert_served_like_inference(folder: Path, run_bundle: Run, tiny_dataset: Path, tmp_path: Path) -> None:
    """The served model gives the label maps of inference.json, also for odd sizes, and refuses in one line."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    values = np.load(tiny_dataset / "images" / "s004_L_CC.npy").astype(np.uint32) * 65535 // 4095
    for name, part in (("a", values), ("b", values[:37, :23])):
        Image.fromarray(part.astype(np.uint16)).save(pictures / f"{name}.png")
    run_bundle("inference", bundle="unet", dataset_dir=str(pictures), formats=["png", "overlay"])
    files = [pictures / f"{name}.png" for name in "ab"]
    served = _load_pyfunc(str(folder))
    for chosen, ending in (("labels", "labels"), ("overlay", "overlay")):
        frame = pandas.DataFrame({"image": [file.read_bytes() for file in files]})
        answers = served.predict(frame, {"format": chosen})["segmentation"]
        for file, answer in zip(files, answers, strict=True):
            written = tmp_path / "out" / "eval" / "segmentations" / f"{file.stem}_{ending}.png"
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer))), np.asarray(Image.open(written)))
    with pytest.raises(MlflowException, match=r"^image 2: not a readable image") as raised:
        served.predict(pandas.DataFrame({"image": [files[0].read_bytes(), b"nothing"]}))
    with pytest.raises(MlflowException):
        served.predict(pandas.DataFrame({"image": [None]}))
    assert raised.value.get_http_status_code() == 400
    with pytest.raises(MlflowException, match="format nifti: unknown; choose from labels, overlay"):
        served.predict(frame, {"format": "nifti"})


def test_a_served_model_names_every_package_that_its_code_imports() -> None:
    root = Path(serving.__file__).parents[2]
    files = [file for package in PACKAGES for file in package_files(root / package) if file.suffix == ".py"]
    needed = {*required_packages(files), *OWN_KEYS}
    assert needed == set(serving.REQUIREMENTS)


@pytest.mark.slow
def test_mlflow_models_serve_answers_with_a_png(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, store: Path
) -> None:
    """Start the server in another folder, with the code of the model's own folder."""
    run_bundle(bundle="deeplabv3", dataset_dir=str(tiny_dataset), max_epochs=1, log_model=True)
    folder = logged_model(store, tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["-m", str(folder), "--env-manager", "local", "-p", str(port)]
    words = [sys.executable, "-m", "mlflow", "models", "serve", *options]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])  # uvicorn
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        image = Image.fromarray((np.load(tiny_dataset / "images" / "s004_L_CC.npy") // 16).astype(np.uint8))
        image.save(tmp_path / "a.png")
        content = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
        body = json.dumps({"dataframe_split": {"columns": ["image"], "data": [[content]]}}).encode()
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/ping", server)
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)["predictions"][0]["segmentation"]
        assert Image.open(io.BytesIO(base64.b64decode(answer))).size == image.size
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_for(address: str, server: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.5)
