"""The demo's rendered world, written in the formats that outside data comes in."""
