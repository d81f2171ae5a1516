"""Environment ids, emulators and frame stacks."""
