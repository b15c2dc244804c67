"""What authors of published methods did and state: parts that replace ours, and their scores."""
