"""Give lists of rows, and what relations lead to, from the cells of rows and of values."""
