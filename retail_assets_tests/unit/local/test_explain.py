"""What a command shows of an error: one line where it is explained, a traceback where it is a bug."""

import errno
import os
from collections.abc import Callable

import click
import pytest

from retail_local.errors import StackError
from retail_local.explain import one_line_errors


class OtherError(Exception):
    """An error of a module that the decorator doesn't import."""


def shown(raising: Callable[[], None]) -> str:
    with pytest.raises(click.ClickException) as error:
        one_line_errors(lambda: (OtherError,))(raising)()
    return error.value.message


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [StackError("port 1 is in use"), OtherError("port 1 is in use")])
def test_an_explained_error_is_shown_as_it_is(error: Exception) -> None:
    assert shown(failing(error)) == "port 1 is in use"


def test_what_is_ready_to_be_shown_is_shown_without_a_look_at_further_errors() -> None:
    def further() -> tuple[type[Exception], ...]:
        raise ImportError("half imported when a signal came")

    with pytest.raises(click.ClickException, match="interrupted"):
        one_line_errors(further)(failing(click.ClickException("interrupted")))()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_a_disk_refuses_names_the_file_and_what_to_do(number: int) -> None:
    line = shown(failing(OSError(number, os.strerror(number), "/data/var/x")))
    assert line.startswith(f"can't write /data/var/x ({os.strerror(number)}): ")
    assert len(line.splitlines()) == 1


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        one_line_errors()(failing(ZeroDivisionError()))()
    with pytest.raises(FileNotFoundError):
        one_line_errors()(failing(FileNotFoundError(errno.ENOENT, "no such file")))()
