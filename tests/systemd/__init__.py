"""The role baton.redis.restart with units, on a host of its own."""
