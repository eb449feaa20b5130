"""The Kafka host: workers, and the threads in which they call functions."""
