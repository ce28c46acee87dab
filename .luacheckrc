-- The scripts run inside Redis and Valkey: Lua 5.1, with their own libraries and nothing else.
std = "lua51"
read_globals = { "redis", "KEYS", "ARGV", "cjson", "cmsgpack", "bit", "struct" }
max_line_length = 140
