"""Finding orders: pages, filters, search, figures."""
