"""How commands show the errors that are explained: one line on standard error, exit code 1, no traceback.

Belongs here: the decorator that every command wears. Does not belong here: which errors there are.
"""

import errno
import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from retail_assets.settings import SettingsError
from retail_local.errors import StackError

_Command = TypeVar("_Command", bound=Callable[..., Any])
#: What a disk or a folder refuses, wherever it happens. Anything else of the system's errors is a bug of ours.
_REFUSED: Final = {
    errno.EACCES: "choose a folder that you may write to, with RETAIL_VAR_DIR, or change its permissions",
    errno.EPERM: "choose a folder that you may write to, with RETAIL_VAR_DIR, or change its permissions",
    errno.EROFS: "choose a folder on a disk that can be written to, with RETAIL_VAR_DIR",
    errno.ENOSPC: "make room on the disk, then run the command again",
    errno.EDQUOT: "make room within your quota, then run the command again",
}


def one_line_errors(more: Callable[[], tuple[type[Exception], ...]] = tuple) -> Callable[[_Command], _Command]:
    """Turn what is explained into click's own error, which has no traceback.

    Args:
        more: returns further errors whose text is ready to be shown; asked for when one happens, so that a command
            needn't import them.
    """

    def decorate(function: _Command) -> _Command:
        @functools.wraps(function)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            try:
                return function(*arguments, **options)
            except (StackError, SettingsError) as error:
                raise click.ClickException(str(error)) from None
            except click.ClickException:
                raise  # ready to be shown, without looking at errors that are slow to import
            except Exception as error:
                if isinstance(error, more()):
                    raise click.ClickException(str(error)) from None
                if isinstance(error, OSError) and error.errno in _REFUSED:
                    where = f" {error.filename}" if error.filename else ""
                    raise click.ClickException(
                        f"can't write{where} ({error.strerror}): {_REFUSED[error.errno]}"
                    ) from None
                raise

        return wrapped  # type: ignore[return-value]

    return decorate
