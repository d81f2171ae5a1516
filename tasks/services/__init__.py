"""The servers behind `ramreel up`: start, deployments, status, orphaned runs."""
