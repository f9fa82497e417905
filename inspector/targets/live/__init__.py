"""Running machines and processes as targets: looked at, never written to, resumed whatever happens to this program."""
