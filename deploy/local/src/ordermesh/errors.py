"""What the launcher says when it cannot go on."""


class LauncherError(Exception):
    """Something that the user can act on; its text is a whole sentence and is all that the command line prints."""
