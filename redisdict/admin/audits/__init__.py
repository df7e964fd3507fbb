"""Show the counts of audits."""
