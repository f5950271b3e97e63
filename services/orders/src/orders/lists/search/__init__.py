"""What a search term may mean."""
