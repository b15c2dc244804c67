"""The same networks under the names of two libraries, weights bit for bit in both directions."""
