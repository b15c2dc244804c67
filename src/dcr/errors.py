"""The one exception that users are meant to read."""


class UserError(ValueError):
    """A mistake in the user's input, told in one sentence: what, where, which rule, what to do.

    The command line prints its message alone, without a traceback, and exits with ``exit_code``.
    """

    exit_code = 1


def first_line(error: BaseException) -> str:
    """Return the first line of what a foreign exception says, else its kind, for a sentence.

    Its full stop is left out, and what goes beyond 300 characters.
    """
    told = str(error).strip() or type(error).__name__
    return told.splitlines()[0].strip().removesuffix(".")[:300]
