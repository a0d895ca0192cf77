import { inNetworkNamespace } from "../../src/ffi/libc.ts";
import type { Netns } from "./netns.ts";

interface Peer {
  other: Bun.Socket<Peer> | undefined;
  /** what it sent before the other end was there */
  readonly early: Uint8Array[];
  /** what it is yet to be given, for its buffer is full */
  readonly queue: Uint8Array[];
  /** ends once the queue is empty */
  ending: boolean;
}

/** Passes connections on to a server, and can fail in the ways in which networks do. It listens on 127.0.0.1. */
export class TcpRelay implements Disposable {
  readonly #connect: (socket: Bun.SocketHandler<Peer>) => Promise<unknown>;
  readonly #listener: Bun.TCPSocketListener<Peer>;
  readonly #sockets = new Set<Bun.Socket<Peer>>();
  #refusing = false;

  /** @param place where the server is; else it is here, on 127.0.0.1 */
  constructor(port: number, place?: { readonly ns: Netns; readonly address: string }) {
    const hostname = place?.address ?? "127.0.0.1";
    const connect = (socket: Bun.SocketHandler<Peer>) => Bun.connect<Peer>({ hostname, port, socket });
    this.#connect = (socket) => (place ? inNetworkNamespace(place.ns.path, () => connect(socket)) : connect(socket));
    this.#listener = Bun.listen<Peer>({
      hostname: "127.0.0.1",
      port: 0,
      socket: { ...this.#handler(), open: (socket) => this.#accept(socket) },
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

  #handler(): Bun.SocketHandler<Peer> {
    return {
      data: ({ data: { other, early } }, data) => {
        (other?.data.queue ?? early).push(new Uint8Array(data));
        if (other !== undefined) flush(other);
      },
      drain: flush,
      close: (socket) => this.#closed(socket),
    };
  }

  #accept(socket: Bun.Socket<Peer>): void {
    socket.data = { other: undefined, queue: [], early: [], ending: false };
    this.#sockets.add(socket);
    if (this.#refusing) {
      socket.terminate();
      return;
    }
    const open = (target: Bun.Socket<Peer>) => {
      target.data = { other: socket, queue: socket.data.early, early: [], ending: false };
      this.#sockets.add(target);
      socket.data.other = target;
      flush(target);
    };
    void this.#connect({ ...this.#handler(), open }).catch(() => socket.terminate());
  }

  #closed(socket: Bun.Socket<Peer>): void {
    this.#sockets.delete(socket);
    const { other } = socket.data;
    if (other === undefined) return;
    other.data.ending = true;
    flush(other);
  }

  [Symbol.dispose](): void {
    this.#listener.stop(true);
    for (const socket of [...this.#sockets]) socket.terminate();
  }
}

/** Gives a socket what it takes of its queue. */
function flush(socket: Bun.Socket<Peer>): void {
  const { queue } = socket.data;
  for (let next = queue[0]; next !== undefined; next = queue[0]) {
    const written = Math.max(0, socket.write(next));
    if (written < next.length) {
      queue[0] = next.subarray(written);
      return;
    }
    queue.shift();
  }
  if (socket.data.ending) socket.end();
}
