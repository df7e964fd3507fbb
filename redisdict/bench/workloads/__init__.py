"""Do what a cell does: calls prepared before the timer, run by a driver, checked after it."""
