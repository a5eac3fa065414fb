"""Running Ivy, which ships inside pyspark's jars, to resolve and download Maven artifacts.

Belongs here: Ivy's command line, its module file, its report and its ways to fail. Where artifacts come from is Ivy's
own default, or the user's `ivysettings.xml` in the cache folder; no address stands in this project. Does not belong
here: checksums and where verified jars are kept (`jars`).
"""

import importlib.util
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

from retail_assets.settings import Settings
from retail_local.jars_lock import Coordinates, JarsError
from retail_local.java import find_java

_PATTERN: Final = "[conf]/[artifact]-[revision](-[classifier]).[ext]"
_ATTEMPTS: Final = 3
_HEAP: Final = "-Xmx256m"
_DOWNLOADED: Final = re.compile(r"\[SUCCESSFUL \] \S+#(?P<name>\S+?);(?P<revision>\S+?)!\S+?\.jar")
_NOT_FOUND: Final = re.compile(r":: (?P<what>\S+#\S+;\S+): (?P<why>not found|.*)")
_NO_NETWORK: Final = re.compile(
    r"UnknownHost|Host \S+ not found|ConnectException|Connection refused|timed out|NoRouteToHost|SocketException"
    r"|SSLException|SSLHandshake|PKIX|unreachable",
    re.IGNORECASE,
)


def pyspark_jars_dir() -> Path:
    """Return pyspark's folder of jars, found without the second that importing pyspark takes.

    Raises:
        JarsError: pyspark is not installed.
    """
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise JarsError("pyspark is not installed in this Python: run `make setup`")
    return Path(spec.origin).parent / "jars"


def retrieve(
    settings: Settings,
    wanted: Mapping[str, Iterable[Coordinates]],
    into: Path,
    *,
    transitive: bool,
    without: Mapping[str, Iterable[tuple[str, str]]] | None = None,
    on_download: Callable[[str], None] | None = None,
) -> None:
    """Download artifacts of several groups, each into its own folder below `into`, with one start of Java.

    Args:
        settings: say where Java and the cache are.
        wanted: coordinates by group.
        into: an empty folder.
        transitive: whether to follow dependencies too.
        without: by group, group and artifact of dependencies that are not followed.
        on_download: called with the name and version of each jar that came over the network.

    Raises:
        JarsError: there is no connection, or an artifact doesn't exist; names Ivy's log.
        JavaError: there is no Java to run Ivy on.
    """
    java = find_java(settings)
    home = settings.cache_dir / "ivy"
    home.mkdir(parents=True, exist_ok=True)
    module = into / "ivy.xml"
    module.write_text(module_file(wanted, transitive=transitive, without=without), encoding="utf-8")
    own_settings = settings.cache_dir / "ivysettings.xml"
    command = [
        str(java.path),
        _HEAP,
        "-Djava.awt.headless=true",
        # Without these a connection that went silent would be waited for forever.
        "-Dsun.net.client.defaultConnectTimeout=20000",
        "-Dsun.net.client.defaultReadTimeout=60000",
        f"-Divy.default.ivy.user.dir={home}",
        "-jar",
        str(_ivy_jar()),
        *(["-settings", str(own_settings)] if own_settings.is_file() else []),
        *("-cache", str(home / "cache"), "-ivy", str(module), "-confs", *wanted),
        *("-types", "jar", "bundle", "maven-plugin"),
        *("-retrieve", f"{into}/{_PATTERN}", "-overwriteMode", "always"),
    ]
    log = home / "last.log"
    output = ""
    for _ in range(_ATTEMPTS):  # what came over stays in Ivy's cache, so each attempt has less to do
        exit_code, output = _run(command, log, on_download)
        if exit_code == 0:
            return
        if not _NO_NETWORK.search(output):
            break
    raise JarsError(_explain(output, log))


def resolved(settings: Settings, group: str) -> list[Coordinates]:
    """Return what the last `retrieve` resolved for `group`, from the report that Ivy left in its cache."""
    report = settings.cache_dir / "ivy" / "cache" / f"retail-assets-jars-{group}.xml"
    found = set()
    for module in ET.parse(report).getroot().iter("module"):  # noqa: S314 -- written by Ivy a moment ago
        for revision in module.findall("revision"):
            if revision.get("evicted"):
                continue
            for artifact in revision.iter("artifact"):
                found.add(
                    Coordinates(
                        module.get("organisation", ""),
                        artifact.get("name", ""),
                        revision.get("name", ""),
                        artifact.get("extra-classifier", ""),
                    )
                )
    return sorted(found)


def module_file(
    wanted: Mapping[str, Iterable[Coordinates]],
    *,
    transitive: bool,
    without: Mapping[str, Iterable[tuple[str, str]]] | None = None,
) -> str:
    """Return Ivy's module file: one configuration for each group, so that their versions never mix."""
    confs = "".join(f"    <conf name={quoteattr(group)}/>\n" for group in wanted)
    target = "default" if transitive else "master"
    lines = []
    for group, all_coordinates in wanted.items():
        for one in all_coordinates:
            attributes = (
                f"org={quoteattr(one.organisation)} name={quoteattr(one.name)} rev={quoteattr(one.revision)} "
                f'conf={quoteattr(f"{group}->{target}")} transitive="{str(transitive).lower()}" force="true"'
            )
            artifact = (
                f'<artifact name={quoteattr(one.name)} type="jar" ext="jar" m:classifier={quoteattr(one.classifier)}/>'
                if one.classifier
                else ""
            )
            lines.append(f"    <dependency {attributes}>{artifact}</dependency>\n")
    # Ivy wants these after all dependencies.
    for group, modules in (without or {}).items():
        for organisation, name in modules:
            attributes = f"org={quoteattr(organisation)} module={quoteattr(name)} conf={quoteattr(group)}"
            lines.append(f"    <exclude {attributes}/>\n")
    return (
        '<ivy-module version="2.0" xmlns:m="http://ant.apache.org/ivy/maven">\n'
        '  <info organisation="retail-assets" module="jars"/>\n'
        f"  <configurations>\n{confs}  </configurations>\n"
        f"  <dependencies>\n{''.join(lines)}  </dependencies>\n"
        "</ivy-module>\n"
    )


def _ivy_jar() -> Path:
    found = sorted(pyspark_jars_dir().glob("ivy-*.jar"))
    if not found:
        raise JarsError(f"{pyspark_jars_dir()} holds no ivy-*.jar: reinstall pyspark (`make setup`)")
    return found[-1]


def _run(command: list[str], log: Path, on_download: Callable[[str], None] | None) -> tuple[int, str]:
    lines = []
    with (
        log.open("w", encoding="utf-8") as stream,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 -- asked for above
        try:
            for line in process.stdout:
                stream.write(line)
                lines.append(line)
                found = _DOWNLOADED.search(line)
                if found and on_download is not None:
                    on_download(f"{found['name']} {found['revision']}")
        except BaseException:
            process.terminate()
            raise
    output = "".join(lines)
    # Ivy ends with exit code 0 after it has listed what it could not resolve.
    failed = process.returncode != 0 or "UNRESOLVED DEPENDENCIES" in output or "FAILED DOWNLOADS" in output
    return (process.returncode or 1) if failed else 0, output


def _explain(output: str, log: Path) -> str:
    if _NO_NETWORK.search(output):
        return (
            "the Java libraries could not be downloaded, the Maven repository was not reached: check the network, or "
            f"the proxy (JAVA_TOOL_OPTIONS=-Dhttps.proxyHost=… -Dhttps.proxyPort=…), then run `retail jars fetch` "
            f"({log})"
        )
    missing = sorted({found["what"].replace("#", ":").replace(";", ":") for found in _NOT_FOUND.finditer(output)})
    if missing:
        return f"the Maven repository does not have {', '.join(missing)}: correct the version in jars.toml ({log})"
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "no output")
    return f"Ivy failed ({last}): its whole output is in {log}"
