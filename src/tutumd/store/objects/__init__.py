"""Everything that is read and written of one kind of object."""
