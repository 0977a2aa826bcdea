"""How origins are reached."""
