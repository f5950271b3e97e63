"""What people do with an order that is placed."""
