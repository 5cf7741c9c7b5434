"""What is counted, filed, deleted and checked later."""
