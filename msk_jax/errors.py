"""The exceptions whose text is meant for the person at the keyboard."""


class UserError(ValueError):
    """Something given by the user cannot be used.

    The message is one or more whole sentences: what was wrong, where (file, patient, series,
    column) and what to do. The command line prints it without a traceback and exits with 2.
    """


class SeriesError(UserError):
    """A series cannot be used; the message says why, where and what to do about it."""


class Stopped(Exception):
    """A run was asked to stop (SIGTERM), has saved where it stands, and can be taken up again.

    The command line prints the message and exits with 143, as a process that SIGTERM ended.
    """
