"""Giving up the rights of root, for a program (PostgreSQL) that refuses to run with them.

The user is `nobody`, which every system has. Where a directory above the data keeps other users out (`/root`, a temporary
directory), the program keeps the one capability to pass it; no permission on disk is widened for it.
"""

import os
import pwd
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_USER = "nobody"


@dataclass(frozen=True, slots=True)
class Become:
    """Whom a program becomes, and whether it may pass directories that are closed to that user."""

    user: str
    passes: bool


def user_for(paths: Iterable[Path]) -> Become | None:
    """Whom a program must become that works on these paths; None if this process is not root."""
    if os.geteuid() != 0:
        return None
    return Become(_USER, passes=sys.platform == "linux" and not all(map(_open_to_all, paths)))


def hand_over(path: Path) -> None:
    """If this process is root, give a file or an empty directory to the unprivileged user."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(_USER)
        os.chown(path, user.pw_uid, user.pw_gid)


def _open_to_all(path: Path) -> bool:
    """Whether every user may enter all directories above the path."""
    return all(above.stat().st_mode & stat.S_IXOTH for above in path.resolve().parents)
