"""The first program of every service: reads what to run from a file, and becomes it.

Belongs here: the step from supervisor to service. A file, because supervisor's own format gives meaning to characters
(`%`, `;`, quotes) that may stand in a path. It `exec`s, so supervisor watches the service itself and not a wrapper.
Run as `python -m retail_local.launch SPEC`; the second argument, a digest, is only there to be seen by supervisor.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from retail_local.sweep import SERVICE_MARK, STACK_MARK, sweep


@dataclass(frozen=True)
class Spec:
    """What a service runs.

    Attributes:
        stack: the stack's mark.
        service: the service's name.
        argv: program and arguments.
        environment: variables to set on top of the inherited ones.
        folder: the working directory.
        ports: where it will listen.
    """

    stack: str
    service: str
    argv: list[str]
    environment: dict[str, str]
    folder: str
    ports: list[int]

    def to_json(self) -> str:
        """Return the form that `from_json` reads."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


def main() -> None:
    """Become the service that the file in the first argument describes."""
    spec = Spec.from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    environment = {**os.environ, **spec.environment, STACK_MARK: spec.stack, SERVICE_MARK: spec.service}
    # What an earlier life of this service left behind (a webserver whose parent was killed) would hold its port.
    sweep(spec.stack, spec.service)
    os.chdir(spec.folder)
    os.execvpe(spec.argv[0], spec.argv, environment)  # noqa: S606 -- becoming the service is what this program is for


if __name__ == "__main__":
    main()
