"""The one source of a recipe that names its shards alone, as its globals have them."""

PLAIN_SOURCE = [{"name": "shards", "shards": "s", "weight": 1.0, "expectations": "e"}]
