"""Deep recordings of KVM/arm64: a trace of calls with sweeps in between, one function a kind of record."""
