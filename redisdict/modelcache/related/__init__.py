"""Read lists of rows and related objects from the cells of rows and of values."""
