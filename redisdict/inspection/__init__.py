"""Describe stored dicts and servers, for the admin and the command `redisdict`."""
