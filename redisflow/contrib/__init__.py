"""What fits redisflow into frameworks; each needs the extra of its name."""
