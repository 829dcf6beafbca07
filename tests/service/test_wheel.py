"""The wheel.

One top-level name, the same from a checkout without links, and it serves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from obligor.serving.process.launch import stop, wait
from tests.test_house import ROOMS

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"


QUIET = {"check": True, "capture_output": True}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which links are plain files, as on Windows."""
    folder = tmp_path_factory.mktemp("clone") / "obligor"
    no_links = ("-c", "core.symlinks=false")
    subprocess.run(["git", *no_links, "clone", "-q", str(ROOT), str(folder)], **QUIET)
    assert not (folder / "obligor" / "data").is_symlink()
    return folder


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [str(UV), "build", "--wheel", "--quiet", "--out-dir", str(folder)]
    subprocess.run([*build, str(clone)], **QUIET)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in it, without what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    install = [str(UV), "pip", "install", "--quiet", "--python", sys.executable]
    target = ["--no-deps", "--target", str(folder)]
    subprocess.run([*install, *target, str(wheel)], check=True)
    return folder


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_has_one_top_level_name(wheel: Path) -> None:
    names = {name.split("/")[0] for name in names_in(wheel)}
    assert {name for name in names if not name.endswith(".dist-info")} == {"obligor"}


def test_the_wheel_holds_every_source_and_every_rulebook(wheel: Path) -> None:
    listing = subprocess.run(
        ["git", "ls-files", *ROOMS],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    expected = set()
    for name in listing.stdout.split():
        is_packed = name.endswith((".py", ".yaml", ".html", ".toml"))
        if is_packed and (ROOT / name).is_file():
            expected.add(f"obligor/{name.removeprefix('obligor/')}")
    assert expected <= set(names_in(wheel))


def test_the_installed_command_has_help(installed: Path) -> None:
    command = subprocess.run(
        [sys.executable, "-m", "obligor", "--help"],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "From a receivables ledger to a recorded decision" in command.stdout


def test_the_installed_service_starts_in_a_checkout_without_links(
    installed: Path,
    clone: Path,
    tmp_path: Path,
    ports: Iterator[int],
) -> None:
    port = next(ports)
    url = f"http://127.0.0.1:{port}"
    log = tmp_path / "service.log"
    command = [str(installed / "bin" / "obligor"), "serve", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--store", str(tmp_path / "store")],
            cwd=clone,
            env={**os.environ, "PYTHONPATH": str(installed), "OBLIGOR_DRAIN_S": "0"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            wait(url, process, log, patience_s=90)
            assert httpx.get(f"{url}/readyz").status_code == 503
        finally:
            stop(process)
