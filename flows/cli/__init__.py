"""The command line: options derived from the input models, one function per command."""
