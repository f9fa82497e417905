"""What was opened: Capture, Vcpu, Area, Field, Overlay."""
