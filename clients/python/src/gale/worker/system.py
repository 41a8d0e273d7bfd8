"""What the worker needs of the operating system: process trees, prctl, memory."""

import contextlib
import ctypes
import os
import signal
import sys
from typing import Iterable, List, Set

LINUX = sys.platform == "linux"

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_CHILD_SUBREAPER = 36
_WALL = 0x40000000  # __WALL of waitid(2): children made by clone as well


def _prctl(option: int, value: int) -> None:
    if LINUX:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def become_subreaper() -> None:
    """Make orphaned descendants children of this process (prctl(2), Linux)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Get SIGKILL when the thread that started this process ends (prctl(2), Linux)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def prefer_for_oom_kill() -> None:
    """Make the kernel choose this process before its parents when memory is short (proc(5))."""
    with contextlib.suppress(OSError):
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")


def children() -> List[int]:
    """Return the children of this process, zombies included; none outside of Linux (proc(5))."""
    found: List[int] = []
    if not LINUX or not _has_children():
        return found
    with contextlib.suppress(OSError):
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/children") as file:
                found.extend(int(pid) for pid in file.read().split())
    return found


def _has_children() -> bool:
    """Report whether this process has children, with one system call (waitid(2), Linux)."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
    except ChildProcessError:
        return False
    return True


def state(pid: int) -> str:
    """Return the state letter of a process: Z is a zombie; "" if there is none (proc(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1].decode()
    except OSError:
        return ""


def rss(pid: int) -> int:
    """Return the resident memory of a process in bytes, 0 if unknown (proc(5))."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


_PAGE = os.sysconf("SC_PAGESIZE")


def kill_group(pgid: int) -> None:
    """Kill a process group; it is not an error if it has ended."""
    if pgid <= 1:
        return  # 0 would be the group of this process
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, signal.SIGKILL)


def kill(pid: int) -> None:
    """Kill a process; it is not an error if it has ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def kill_adopted(known: Iterable[int]) -> List[int]:
    """Kill and reap the children of this process that are not known, and what they orphan.

    It returns those that were still running. Only for a process that starts no children of
    its own apart from known ones.
    """
    keep: Set[int] = set(known)
    killed: List[int] = []
    for _ in range(1000):  # each round kills a generation of a tree
        strangers = [pid for pid in children() if pid not in keep]
        if not strangers:
            break
        for pid in strangers:
            if state(pid) not in ("Z", ""):
                killed.append(pid)
                kill(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
    return killed
