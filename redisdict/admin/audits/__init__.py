"""The page of what audits have counted."""
