"""Changes: redeploy, scale, start and stop."""
