"""Run the work of a cell: calls prepared before the timer, run by a driver, checked after it."""
