"""One function per command: check the input, run a flow, print its results."""
