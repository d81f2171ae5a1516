"""What a user may request: Prefect forms, command options, TOML settings files."""
