"""The error for users' mistakes."""

from __future__ import annotations

import re

from transforms.command_names import command_names
from transforms.plain_text import one_line

PASSED_ON = re.compile(r"^transforms\.errors\.UserError: (.+)$", re.MULTILINE)


class UserError(ValueError):
    """Bad input: the message is one line that names the file, what was found, what was expected and what to do.

    Commands print it without a traceback and exit with a code other than 0. Line breaks and control characters in it,
    as file names and headers may hold them, are escaped; commands are called what they are called where the code is.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(command_names(str(message))))


def user_error(error: BaseException | None) -> UserError | None:
    """The `UserError` behind an exception, however deeply MONAI wrapped it; None if there is none.

    One of a process that reads data comes with its whole traceback as text, of which only the last line is meant.
    """
    while error is not None:
        found = PASSED_ON.findall(str(error))
        if found:
            return UserError(found[-1])
        if isinstance(error, UserError):
            return error
        error = error.__cause__ or error.__context__
    return None
