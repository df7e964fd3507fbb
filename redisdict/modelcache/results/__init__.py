"""Cache results computed from whole tables until one of these changes; they are never old."""
