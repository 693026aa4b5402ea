"""The error class for invalid user input."""

from __future__ import annotations

import re

from transforms.command_names import command_names
from transforms.plain_text import one_line

PASSED_ON = re.compile(r"^transforms\.errors\.UserError: (.+)$", re.MULTILINE)


class UserError(ValueError):
    """Bad input: the message is one line that names the file, what was found, what was expected and what to do.

    Commands print it without a traceback and exit with a nonzero code. Line breaks and control characters, which file
    names and headers may contain, are escaped; commands are named as in this installation (`command_names`).
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(command_names(str(message))))


def user_error(error: BaseException | None) -> UserError | None:
    """The `UserError` behind an exception, however deeply MONAI wrapped it; None without one.

    An error of a data loading process arrives as traceback text; only its last line is used.
    """
    while error is not None:
        found = PASSED_ON.findall(str(error))
        if found:
            return UserError(found[-1])
        if isinstance(error, UserError):
            return error
        error = error.__cause__ or error.__context__
    return None
