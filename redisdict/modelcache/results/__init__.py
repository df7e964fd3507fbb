"""Results that are computed of whole tables: kept until one of these changes, never old."""
