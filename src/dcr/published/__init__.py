"""What the authors of published methods did and state: parts that take the place of ours, and
their scores.
"""
