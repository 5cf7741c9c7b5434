"""Image names and registry logins, which several engines need."""
