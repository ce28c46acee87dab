"""What `redisflow doctor` looks at, a room for each place where something may be wrong. Nothing is changed."""
