"""Where services run: one package per engine, none of which imports another."""
