"""From arrays to metrics with intervals. Nothing here knows of tasks, models or files."""
