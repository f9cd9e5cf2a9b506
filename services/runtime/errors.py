"""The one exception for people: what went wrong and what to do, in one line."""


class OperatorError(Exception):
    """Something the person who started the program has to put right; its text is shown as it is.

    The text is one line, names the setting, file or port, says what to do, and holds no secret and no
    patient data. Commands print it and exit with 1; no traceback is shown.
    """
