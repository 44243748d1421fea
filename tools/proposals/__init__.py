"""§4.1 Proposals: changes to the standard, built apart from it and judged by what they cost and what they break."""
