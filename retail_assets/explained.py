"""How the platform's commands show the errors that it explains.

Belongs here: the decorator of the commands. Does not belong here: which errors are explained (`demo.errors`), how one
is shown (`retail_local.explain`), and the commands themselves.
"""

from typing import Final

from retail_local.explain import one_line_errors


def _errors() -> tuple[type[Exception], ...]:
    from retail_assets.demo.errors import EXPLAINED  # slow to import: it reaches Kafka, Delta and ClickHouse

    return EXPLAINED


explained: Final = one_line_errors(_errors)
