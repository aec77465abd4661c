"""The one error that is the user's to mend."""


class InputError(ValueError):
    """Input that cannot be used: one line with the argument, what was expected, what was found, and the fix.

    The command line prints it without a traceback and exits with code 2.
    """
