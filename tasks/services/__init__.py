"""Servers and workers: processes, backends of a cluster, deployments, status, orphaned flow runs."""
