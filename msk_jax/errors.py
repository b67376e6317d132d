"""The one exception whose text is meant for the person at the keyboard."""


class UserError(ValueError):
    """Something given by the user cannot be used.

    The message is one or more whole sentences: what was wrong, where (file, patient, series,
    column) and what to do. The command line prints it without a traceback and exits with 2.
    """
