"""How the outside comes in: WebSocket, HTTP and the command line."""
