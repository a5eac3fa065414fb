"""Where the class-data archive lies: Spark's classes as the JVM wants them in memory, made once for later starts.

A JVM spends seconds of each Spark session on loading and verifying some twenty thousand classes. The JDK can keep the
result in a file (application class-data sharing) that fits one Java and one class path; a JVM for which it doesn't fit
leaves it unused. Without the file everything works as well, only later.

Belongs here: which file belongs to which Java and jars. Does not belong here: making it, which takes a Spark session
(`retail_assets.resources.spark_archive`).
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from retail_assets.settings import Settings
from retail_local import ivy
from retail_local.java import Java

SUFFIX: Final = ".jsa"


def archive_file(settings: Settings, java: Java, jars: Iterable[Path]) -> Path:
    """Return where the archive for this Java, this pyspark and these jars lies; it need not be there.

    Args:
        settings: say where the cache is.
        java: the Java that Spark runs on.
        jars: what is on the class path besides pyspark's own jars.
    """
    parts = [str(java.path.resolve()), java.text]
    for jar in [*sorted(ivy.pyspark_jars_dir().glob("*.jar")), *jars]:
        # The JVM compares the same: path, size and time of change.
        status = jar.stat()
        parts.append(f"{jar} {status.st_size} {int(status.st_mtime)}")
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return settings.cache_dir / "class-data" / f"spark-{digest}{SUFFIX}"
