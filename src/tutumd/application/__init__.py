"""The rules: who may do what, and in which form. Each verb is one function, and only ports are used."""
