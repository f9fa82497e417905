"""Logs: what their lines tell of vCPUs, of the host, and of calls."""
