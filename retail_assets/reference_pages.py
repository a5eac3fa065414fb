"""Writes the documents that follow from the code: `make docs`. A test holds them up to date.

Belongs here: which page is made from what. Does not belong here: their text, which stands with what it describes.
"""

from collections.abc import Callable
from typing import Final

from retail_assets.contracts import features
from retail_assets.paths import project_root

#: By the file's name below the project's root.
PAGES: Final[dict[str, Callable[[], str]]] = {"docs/feature_dictionary.md": features.dictionary}


def main() -> None:
    """Write every page anew."""
    for name, text in PAGES.items():
        (project_root() / name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
