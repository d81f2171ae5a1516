"""Episodes: played by a policy or a trace, kept, and proved."""
