"""Finding the Java that the broker, Ivy and Spark run on.

Belongs here: where a Java is looked for, how its version is read, and the one line that says what to install. Does
not belong here: what is run with it.
"""

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from retail_assets.settings import Settings
from retail_local.errors import StackError

OLDEST_JAVA: Final = 17
_INSTALL: Final = (
    f"install a Java {OLDEST_JAVA} or newer (Debian and Ubuntu: `apt install openjdk-17-jre-headless`, macOS: "
    "`brew install openjdk@21`) or set RETAIL_JAVA_HOME to the folder of one"
)
_VERSION: Final = re.compile(r'version "(?P<first>\d+)(?:\.(?P<second>\d+))?[^"]*"')
_START_SECONDS: Final = 30


class JavaError(StackError):
    """There is no Java, or it is too old, or it doesn't start."""


@dataclass(frozen=True)
class Java:
    """A Java that was started once to read its version.

    Attributes:
        path: the `java` program.
        version: the major version, such as 17.
        text: the line that it printed about itself.
        source: the setting or variable that named it.
    """

    path: Path
    version: int
    text: str
    source: str

    @property
    def home(self) -> Path:
        """The folder to give to programs that ask for a JAVA_HOME."""
        return self.path.resolve().parent.parent


def parse_version(output: str) -> int | None:
    """Return the major version from what `java -version` prints, or None where it names none.

    Java 8 and older call themselves `1.8`; an early-access build `22-ea`.
    """
    found = _VERSION.search(output)
    if found is None:
        return None
    first = int(found["first"])
    return int(found["second"] or 0) if first == 1 else first


def find_java(settings: Settings) -> Java:
    """Return the Java to use: RETAIL_JAVA_HOME, then JAVA_HOME, then the first on the PATH.

    The first that is named decides. A wrong one is an error and never skipped in silence, because Spark and other
    programs would still pick it up.

    Raises:
        JavaError: no Java, one older than 17, or one that doesn't run. One line with what to do.
    """
    if settings.java_home is not None:
        return _java_of_home(settings.java_home, "RETAIL_JAVA_HOME")
    # JAVA_HOME belongs to Java and not to us, so it's no setting of the platform.
    java_home = os.environ.get("JAVA_HOME", "")
    if java_home:
        return _java_of_home(Path(java_home), "JAVA_HOME")
    on_path = shutil.which("java")
    if on_path is None:
        raise JavaError(
            f"Java was not found (RETAIL_JAVA_HOME and JAVA_HOME are not set, no java on the PATH): {_INSTALL}"
        )
    return _checked(Path(on_path), "PATH")


def _java_of_home(home: Path, source: str) -> Java:
    path = home.expanduser() / "bin" / "java"
    if not os.access(path, os.X_OK):
        raise JavaError(f"{source} is {home}, but {path} is not a program: correct {source}, or {_INSTALL}")
    return _checked(path, source)


def _checked(path: Path, source: str) -> Java:
    version, text = _ask(path)
    if version is None:
        raise JavaError(f"{path} (from {source}) does not work ({text}): {_INSTALL}")
    if version < OLDEST_JAVA:
        raise JavaError(f"{path} (from {source}) is Java {version}, and {OLDEST_JAVA} or newer is needed: {_INSTALL}")
    return Java(path, version, text, source)


@functools.lru_cache(maxsize=8)
def _ask(path: Path) -> tuple[int | None, str]:
    try:
        answer = subprocess.run(
            [path, "-version"], capture_output=True, text=True, timeout=_START_SECONDS, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer to -version within {_START_SECONDS} s"
    except OSError as error:
        return None, error.strerror or str(error)
    lines = [line.strip() for line in (answer.stderr + answer.stdout).splitlines() if line.strip()]
    # JAVA_TOOL_OPTIONS makes Java print a line before its version.
    named = next((line for line in lines if _VERSION.search(line)), lines[0] if lines else "it printed nothing")
    if answer.returncode != 0:
        return None, f"exit code {answer.returncode}: {named}"
    return parse_version(named), named
