"""Closed process groups: the service process, and the clients that applications use."""
