"""§A.3.3 The runner: asks any decoder for its digests and errors, as a black box, and judges them; imports no codec."""
