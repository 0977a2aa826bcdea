"""How origins are reached: connections, pooled and kept alive, and the fields that requests get on their way."""
