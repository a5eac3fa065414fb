"""What starts runs by itself when something happens outside."""
