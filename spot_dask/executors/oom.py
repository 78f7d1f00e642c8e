"""How often the kernel has killed in a process's control group because memory ran out."""

from __future__ import annotations

from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def oom_kills(groups: str, root: Path = CGROUPS) -> int | None:
    """The count for the groups that ``/proc/<pid>/cgroup`` tells; None where it cannot be seen.

    Control groups v2 count in ``memory.events``, v1 in ``memory.oom_control`` (cgroups(7)).
    """
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            file = root / "memory" / path.lstrip("/") / "memory.oom_control"
        elif controllers == "":
            file = root / path.lstrip("/") / "memory.events"
        else:
            continue
        try:
            counts = dict(entry.split() for entry in file.read_text().splitlines())
            return int(counts["oom_kill"])
        except (OSError, KeyError, ValueError):
            continue  # the other version may count
    return None


def groups_of(pid: int) -> str:
    """What ``/proc/<pid>/cgroup`` tells; nothing where there is none."""
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""
