"""What people read about deliveries, senders, handlers and engines."""
