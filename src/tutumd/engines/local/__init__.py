"""The engine `local`: services are commands that tutumd runs on this machine, without a container engine."""
