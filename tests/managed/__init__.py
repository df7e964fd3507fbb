"""What managed services do otherwise, each before a proxy to a real server that does the same."""
