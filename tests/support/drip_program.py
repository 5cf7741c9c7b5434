"""A registry that is slow but gets on: forwards to another one, and hands its responses out in drips.

python drip_program.py PORT UPSTREAM_PORT PAUSE_S
"""

import socket
import sys
import threading
import time

_DRIP = 256


def _forward(source: socket.socket, target: socket.socket, pause_s: float) -> None:
    try:
        while piece := source.recv(_DRIP):
            time.sleep(pause_s)
            target.sendall(piece)
    except OSError:
        pass
    finally:
        target.close()


def _serve(port: int, upstream_port: int, pause_s: float) -> None:
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            client, _ = listener.accept()
            upstream = socket.create_connection(("127.0.0.1", upstream_port))
            threading.Thread(target=_forward, args=(client, upstream, 0), daemon=True).start()
            threading.Thread(target=_forward, args=(upstream, client, pause_s), daemon=True).start()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
