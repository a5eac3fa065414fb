"""`make setup` before anything is installed: what it checks, in which order, and that it does nothing twice.

The script runs in an empty checkout with hand-written programs on its PATH, so that nothing is ever downloaded.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from retail_assets.paths import infra_dir
from retail_local.jars_lock import LOCK_FILE

TOOLS = ("awk", "bash", "cat", "cksum", "df", "dirname", "env", "grep", "head", "rm", "sed", "sh")
JAVA_17 = 'openjdk version "17.0.15" 2025-04-15'


class Checkout:
    """A folder with the script and the files that it reads, and a PATH of its own."""

    def __init__(self, root: Path) -> None:
        """Lay the folder out."""
        self.root = root / "checkout"
        self.path = root / "bin"
        self.path.mkdir()
        for name in TOOLS:
            found = shutil.which(name)
            assert found is not None, name
            (self.path / name).symlink_to(found)
        script = self.root / "infra" / "local" / "setup.sh"
        (script.parent / "retail_local").mkdir(parents=True)
        shutil.copy(infra_dir() / "local" / "setup.sh", script)
        (script.parent / "retail_local" / LOCK_FILE.name).write_text("format = 1\n", encoding="utf-8")
        for name in ("requirements.lock", "pyproject.toml"):
            (self.root / name).write_text(name, encoding="utf-8")
        self._script = script

    def program(self, name: str, body: str) -> None:
        """Put a program on the PATH, in the place of one that is there."""
        path = self.path / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)

    def java(self, version_line: str) -> None:
        """Put a Java on the PATH."""
        self.program("java", f"echo '{version_line}' >&2")

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        bash = shutil.which("bash")
        assert bash is not None
        environment = {"PATH": str(self.path), "HOME": str(self.root), **variables}
        return subprocess.run(
            [bash, str(self._script)], env=environment, capture_output=True, text=True, timeout=30, check=False
        )

    def stamp(self) -> None:
        """Say that the set-up of these very files was done."""
        (self.root / ".venv" / "bin").mkdir(parents=True)
        (self.root / ".venv" / "bin" / "python").symlink_to("/bin/sh")
        files = ("requirements.lock", "pyproject.toml", "infra/local/retail_local/jars.lock", "infra/local/setup.sh")
        content = b"".join((self.root / name).read_bytes() for name in files)
        digest = subprocess.run(["cksum"], input=content, capture_output=True, check=True).stdout.decode()
        (self.root / ".venv" / ".retail-setup").write_text(digest.strip(), encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_without_java_nothing_else_is_even_looked_for(checkout: Checkout):
    answer = checkout.run()
    assert answer.returncode == 1
    assert answer.stderr.startswith("setup: Java was not found: install a Java 17 or newer")
    assert len(answer.stderr.splitlines()) == 1
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize("line", ['openjdk version "11.0.2" 2019-01-15', 'java version "1.8.0_392"'])
def test_a_java_that_is_too_old_is_named(checkout: Checkout, line: str):
    checkout.java(line)
    answer = checkout.run()
    assert answer.returncode == 1
    assert "and 17 or newer is needed" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_java_that_does_not_start_is_said_to(checkout: Checkout):
    checkout.program("java", "exit 1")
    assert "does not work" in checkout.run().stderr


def test_a_python_that_is_too_old_is_named(checkout: Checkout):
    checkout.java(JAVA_17)
    checkout.program("python3", '[ "$1" = --version ] && echo "Python 3.9.2" || exit 1')
    answer = checkout.run()
    assert answer.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed and there is Python 3.9.2" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_python_that_was_named_and_is_not_there_is_an_error(checkout: Checkout):
    checkout.java(JAVA_17)
    assert "PYTHON=python9 was not found" in checkout.run(PYTHON="python9").stderr


@pytest.mark.parametrize(
    ("installer", "said"),
    [("conda", "INSTALLER=conda is neither pip nor uv"), ("uv", "INSTALLER=uv, but uv is not on the PATH")],
)
def test_an_installer_that_is_not_there_is_an_error(checkout: Checkout, installer: str, said: str):
    checkout.java(JAVA_17)
    checkout.program("python3", "exit 0")
    checkout.program("df", 'echo "Filesystem 1024-blocks Used Available"; echo "/dev/disk 1 1 9999999 1% /"')
    answer = checkout.run(INSTALLER=installer)
    assert answer.returncode == 1
    assert said in answer.stderr
    assert not (checkout.root / ".venv").exists()


def test_a_full_disk_is_found_before_the_download(checkout: Checkout):
    checkout.java(JAVA_17)
    checkout.program("python3", "exit 0")
    checkout.program("df", 'echo "Filesystem 1024-blocks Used Available"; echo "/dev/disk 1 1 1234567 1% /"')
    answer = checkout.run()
    assert answer.returncode == 1
    assert "only 1234 MB are free" in answer.stderr
    assert not (checkout.root / ".venv").exists()


def test_a_python_without_its_venv_module_is_explained(checkout: Checkout):
    checkout.java(JAVA_17)
    checkout.program("python3", 'case "$*" in *ensurepip*) exit 1;; esac')
    answer = checkout.run()
    assert answer.returncode == 1
    assert "lacks its venv module: install it" in answer.stderr


def test_a_second_run_does_nothing_and_needs_neither_java_nor_python(checkout: Checkout):
    checkout.stamp()
    answer = checkout.run()
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


@pytest.mark.parametrize("change", ["requirements.lock", ".venv/.retail-setup-running"])
def test_a_changed_lock_or_an_interrupted_run_sets_up_again(checkout: Checkout, change: str):
    checkout.stamp()
    (checkout.root / change).write_text("changed", encoding="utf-8")
    assert "Java was not found" in checkout.run().stderr
