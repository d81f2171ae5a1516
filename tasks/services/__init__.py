"""The servers behind `ramreel up`: processes, deployments, status, orphaned flow runs."""
