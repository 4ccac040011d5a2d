"""The sidecar: Clario over HTTP, for what does not speak Python. `clario serve` starts it; see docs/SERVICE.md."""
