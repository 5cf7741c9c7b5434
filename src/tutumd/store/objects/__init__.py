"""All reads and writes of one kind of object."""
