"""The one exception that users are meant to read."""


class UserError(ValueError):
    """A mistake in the user's input, told in one sentence: what, where, which rule, what to do.

    The command line prints its message alone, without a traceback, and exits with ``exit_code``.
    """

    exit_code = 1


def first_line(error: BaseException) -> str:
    """Return the first line of what a foreign exception says, at most 200 characters of it."""
    return str(error).strip().partition("\n")[0][:200]
