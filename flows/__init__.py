"""What happens, and in which order: Prefect flows and the command line over them."""
