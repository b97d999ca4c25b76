"""What tests, demo and bench share: real servers, data for them, and a load that writes."""
