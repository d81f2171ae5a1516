"""Input models: Prefect forms, command options, TOML settings files."""
