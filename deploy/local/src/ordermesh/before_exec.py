"""Runs in a new process just before its program: `before_exec.py ORPHANED LAUNCHER USER PASSES PROGRAM [ARGUMENT..]`.

ORPHANED is the signal to get when the process LAUNCHER dies without having stopped us (0: none; Linux only). USER is whom to
become ("-": nobody else). PASSES (0 or 1) keeps the one capability to enter directories that are closed to that user. It is a
program, not a function between fork and exec, since such a function may deadlock when the launcher has threads. Stdlib only.
"""

import ctypes
import os
import pwd
import sys

_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def main() -> None:
    """Become the program. Ends with the message of the system if that is refused."""
    orphaned, launcher, user, passes, *program = sys.argv[1:]
    if user != "-":
        _become(user, passes=passes == "1")
    # What the program writes is for this user alone.
    os.umask(0o077)
    # After the change of user, which clears it.
    if int(orphaned) and sys.platform == "linux":
        _ask("prctl", _PR_SET_PDEATHSIG, int(orphaned), 0, 0, 0)
        if os.getppid() != int(launcher):
            sys.exit("The launcher died before we were told.")
    try:
        os.execv(program[0], program)  # noqa: S606 - this is all that the script is for
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


def _become(name: str, *, passes: bool) -> None:
    user = pwd.getpwnam(name)
    if passes:
        _ask("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    if passes:
        bit = 1 << _CAP_DAC_OVERRIDE
        sets = (_Sets * 2)(_Sets(bit, bit, bit), _Sets(0, 0, 0))
        _ask("capset", ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), sets)
        _ask("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def _ask(call: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, call)(*arguments) != 0:
        sys.exit(f"{call}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main()
