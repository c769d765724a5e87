"""Client of Needletail, a distributed search cluster for embeddings.

>>> import needletail
>>> with needletail.Client("127.0.0.1:7460") as client:
...     client.create_collection("books", {"text": needletail.Field(384, "cosine")})
...     client.upsert("books", ids, vectors)
...     hits = client.search("books", query, limit=5)

`needletail.arrow` reads and writes Parquet and Arrow, `needletail.ray` loads collections from many workers. Whatever is not here is in
`needletail.v1`: the messages and stubs that every gRPC client uses.
"""

from needletail.client import Client, Field, Hit, Point
from needletail.retries import NeedletailError
from needletail.tls import TLS

__all__ = ["TLS", "Client", "Field", "Hit", "NeedletailError", "Point"]
