"""What is looked at in the servers and in a namespace, for `redisflow doctor` and the dashboard. Nothing is changed."""
