"""Performs the steps of flows, for whichever server asks."""
