"""One function a command: options in, settings checked, a flow called, its results shown."""
