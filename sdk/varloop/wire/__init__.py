"""The wire: events to CloudEvents and back, checked. Pure functions over bytes and headers; only claims touch a store."""
