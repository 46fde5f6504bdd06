"""What conducts: configuration, run directory, stages, Prefect flows, report, command."""

import os

# Prefect tells its makers of itself when it is imported, by whichever module comes first.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
