"""Chat servers, Ollama's and OpenAI-compatible ones: `client` asks them, for JSON and patiently."""
