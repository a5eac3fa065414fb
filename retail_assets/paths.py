"""Where the project's own files lie: in a checkout or in an installed wheel.

Belongs here: finding folders that ship with the code. Anything that a user may change is a setting.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def project_root() -> Path:
    """Return the checkout that holds this package, or the working directory for an installed wheel."""
    checkout = _PACKAGE.parent
    return checkout if (checkout / "workspace.yaml").is_file() else Path.cwd()


def infra_dir() -> Path:
    """Return the folder with the DDL: `infra/` of the checkout, or its copy inside the wheel."""
    packaged = _PACKAGE / "_infra"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "infra"
