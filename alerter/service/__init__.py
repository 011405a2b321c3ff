"""The process: start, scheduling, reload and stop."""
