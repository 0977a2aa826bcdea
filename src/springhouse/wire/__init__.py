"""Bytes to messages and back (RFC 9112). httptools (llhttp, strict) parses; what it lets pass is refused here."""
