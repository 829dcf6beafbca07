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

from obligor.serving.process.launch import running_service
from tests.test_house import ROOMS

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a clone in which links are plain files, as on Windows."""
    folder = tmp_path_factory.mktemp("wheel")
    clone = folder / "clone"
    quiet = {"check": True, "capture_output": True}
    no_links = ("-c", "core.symlinks=false")
    subprocess.run(["git", *no_links, "clone", "-q", str(ROOT), str(clone)], **quiet)
    assert not (clone / "obligor" / "data").is_symlink()
    build = [str(UV), "build", "--wheel", "--quiet", "--out-dir", str(folder)]
    subprocess.run([*build, str(clone)], **quiet)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in it, without what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    install = [str(UV), "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*install, str(folder), str(wheel)], check=True)
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


def test_the_installed_service_starts(
    installed: Path,
    tmp_path: Path,
    ports: Iterator[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "OBLIGOR_STORE": str(tmp_path / "store"),
    }
    log = tmp_path / "service.log"
    with running_service(environment, next(ports), log) as url:
        assert httpx.get(f"{url}/readyz").status_code == 503
