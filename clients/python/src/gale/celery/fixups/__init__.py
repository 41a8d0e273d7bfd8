"""What frameworks need."""
