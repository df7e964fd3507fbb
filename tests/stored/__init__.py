"""What released versions have stored on servers, and that this one reads it."""
