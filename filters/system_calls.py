"""Which system calls a program in the sandbox is refused, as a filter that the kernel runs.

What System V queues and segments hold counts towards none of the limits of a process, and is held
when nobody has it open any more, so memory would have no bound; other calls reach into processes or
into parts of the kernel that no solution of a task needs. They fail with EPERM. The filter is a
program of classic BPF on `struct seccomp_data` (Linux, Documentation/userspace-api/seccomp_filter);
calls by the numbers of another architecture kill the process, since it knows only its own.
"""

import errno
import platform
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple


class Machine(NamedTuple):
    """An architecture: its number in the kernel, and the refused calls by name."""

    audit: int
    refused: Mapping[str, int]
    beyond: int | None = None
    """From this number up, calls are those of a second set (x32), all refused."""


MACHINES: Mapping[str, Machine] = {
    "x86_64": Machine(
        0xC000003E,
        {
            "shmget": 29, "semget": 64, "msgget": 68, "ptrace": 101, "add_key": 248,
            "request_key": 249, "keyctl": 250, "perf_event_open": 298, "process_vm_readv": 310,
            "process_vm_writev": 311, "memfd_create": 319, "bpf": 321, "userfaultfd": 323,
            "io_uring_setup": 425, "memfd_secret": 447,
        },
        beyond=0x40000000,
    ),
    "aarch64": Machine(
        0xC00000B7,
        {
            "shmget": 194, "semget": 190, "msgget": 186, "ptrace": 117, "add_key": 217,
            "request_key": 218, "keyctl": 219, "perf_event_open": 241, "process_vm_readv": 270,
            "process_vm_writev": 271, "memfd_create": 279, "bpf": 280, "userfaultfd": 282,
            "io_uring_setup": 425, "memfd_secret": 447,
        },
    ),
}  # fmt: skip
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _MACHINE_AT = 0, 4
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000


@cache
def write_filter() -> bytes:
    """The filter for this machine, as bubblewrap's `--seccomp` reads it. Raises KeyError for an
    architecture that is not known here."""
    machine = MACHINES[platform.machine()]
    refuse = (_RETURN, 0, 0, _REFUSE)
    lines: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_IF_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine.beyond is not None:
        lines += [(_IF_AT_LEAST, 0, 1, machine.beyond), refuse]
    for number in machine.refused.values():
        lines += [(_IF_EQUAL, 0, 1, number), refuse]
    return _pack([*lines, (_RETURN, 0, 0, _ALLOW)])


def _pack(lines: Sequence[tuple[int, int, int, int]]) -> bytes:
    """Lines of what to do, how far to jump if so and if not, and with which value."""
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
