"""What goes wrong, as exceptions. Wrong arguments are TypeError and ValueError as everywhere in Python."""


class FresnelError(RuntimeError):
    """The runtime, the driver, the compiler or the cache cannot do what was asked; the message says why."""


class UnsupportedError(FresnelError):
    """A construct without a GPU kernel, or a GPU or bundle that lacks what was asked for."""
