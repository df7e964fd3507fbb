"""What the admin and the command `redisdict` share: stored dicts in words, and what servers say."""
