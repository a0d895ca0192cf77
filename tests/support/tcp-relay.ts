interface Peer {
  other: Bun.Socket<Peer> | undefined;
  /** came before the other end was there */
  early: Uint8Array[];
}

/** Passes connections on to a port of 127.0.0.1, and can fail in the ways in which networks do. */
export class TcpRelay implements Disposable {
  readonly #target: number;
  readonly #listener: Bun.TCPSocketListener<Peer>;
  readonly #sockets = new Set<Bun.Socket<Peer>>();
  #refusing = false;

  constructor(target: number) {
    this.#target = target;
    this.#listener = Bun.listen<Peer>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: (socket) => this.#accept(socket),
        data: (socket, data) => pass(socket, data),
        close: (socket) => this.#closed(socket),
      },
    });
  }

  get port(): number {
    return this.#listener.port;
  }

  /** Ends all connections, and each new one at once, until `mend`. */
  cut(): void {
    this.#refusing = true;
    for (const socket of [...this.#sockets]) socket.terminate();
  }

  mend(): void {
    this.#refusing = false;
  }

  /** The connections that there are stay open and carry nothing any more; new ones work. */
  stall(): void {
    for (const socket of this.#sockets) socket.data.other = undefined;
  }

  #accept(socket: Bun.Socket<Peer>): void {
    socket.data = { other: undefined, early: [] };
    this.#sockets.add(socket);
    if (this.#refusing) {
      socket.terminate();
      return;
    }
    void Bun.connect<Peer>({
      hostname: "127.0.0.1",
      port: this.#target,
      socket: {
        open: (target) => {
          target.data = { other: socket, early: [] };
          this.#sockets.add(target);
          socket.data.other = target;
          for (const data of socket.data.early.splice(0)) target.write(data);
        },
        data: (target, data) => pass(target, data),
        close: (target) => this.#closed(target),
      },
    }).catch(() => socket.terminate());
  }

  #closed(socket: Bun.Socket<Peer>): void {
    this.#sockets.delete(socket);
    socket.data.other?.end();
  }

  [Symbol.dispose](): void {
    this.#listener.stop(true);
    for (const socket of [...this.#sockets]) socket.terminate();
  }
}

/** What does not fit into the other end's buffer is lost: the tests' messages are small. */
function pass({ data: { other, early } }: Bun.Socket<Peer>, data: Uint8Array): void {
  if (other === undefined) early.push(new Uint8Array(data));
  else other.write(data);
}
