"""The rules: permissions, and the form of requests. Each verb is one function, and only ports are used."""
