"""The headings under which `tutelage --help` lists its verbs, in their order."""

from cyclopts import Group

MAKE = Group.create_ordered("Make data")
LOOK = Group.create_ordered("Look into it, and decide")
TEACH = Group.create_ordered("Teach")
ANY_FILE = Group.create_ordered("Work on any file")
SCHEDULE = Group.create_ordered("Schedule")
OTHER = Group.create_ordered("Besides")

EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted."
