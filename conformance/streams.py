"""§A.3.3 The streams of the corpus by their ids, for tools that look at what streams do."""

from __future__ import annotations

from conformance import corpus, recipes


def corpus_streams(largest: int) -> dict[str, bytes]:
    """§A.3.3 The streams of up to `largest` bytes, smallest first: as they are stored, or made from their recipes."""
    stored = {path: path.read_bytes() for path in corpus.files(corpus.DIRECTORY) if path.suffix == ".hga"}
    if stored:
        found = {
            path.relative_to(corpus.DIRECTORY).with_suffix("").as_posix(): data
            for path, data in stored.items()
        }
    else:
        found = {recipe.id: recipe.build() for recipe in recipes.released()}
    small = {name: data for name, data in found.items() if len(data) <= largest}
    return dict(sorted(small.items(), key=lambda item: (len(item[1]), item[0])))
