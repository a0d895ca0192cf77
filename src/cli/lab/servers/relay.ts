import { inNetworkNamespace } from "../../../ffi/libc.ts";

interface Peer {
  other: Bun.Socket<Peer> | undefined;
  /** what it sent before the other end was there */
  readonly early: Uint8Array[];
  /** what it is yet to be given, for its buffer is full */
  readonly queue: Uint8Array[];
  /** ends once the queue is empty */
  ending: boolean;
}

/** A server's place: an IP address and a port in a network namespace. */
export interface RelayTarget {
  readonly address: string;
  readonly port: number;
  /** path of the network namespace; ours if not given */
  readonly namespace?: string | undefined;
}

/** Passes connections on to a server in another network namespace. It listens on 127.0.0.1. */
export class Relay implements Disposable {
  readonly #target: RelayTarget;
  readonly #listener: Bun.TCPSocketListener<Peer>;
  protected readonly sockets = new Set<Bun.Socket<Peer>>();

  constructor(target: RelayTarget) {
    this.#target = target;
    this.#listener = Bun.listen<Peer>({
      hostname: "127.0.0.1",
      port: 0,
      socket: { ...this.#handler(), open: (socket) => this.#accept(socket) },
    });
  }

  get port(): number {
    return this.#listener.port;
  }

  /** Whether new connections are taken. */
  protected get accepting(): boolean {
    return true;
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
    this.sockets.add(socket);
    if (!this.accepting) {
      socket.terminate();
      return;
    }
    const open = (target: Bun.Socket<Peer>) => {
      // Whoever has sent and gone meanwhile is no other end any more.
      const isThere = this.sockets.has(socket);
      const other = isThere ? socket : undefined;
      target.data = { other, queue: socket.data.early, early: [], ending: !isThere };
      this.sockets.add(target);
      socket.data.other = target;
      flush(target);
    };
    void this.#connect({ ...this.#handler(), open }).catch(() => socket.terminate());
  }

  /** A socket belongs to the namespace in which it was made, which for an IP address is before this returns. */
  async #connect(socket: Bun.SocketHandler<Peer>): Promise<unknown> {
    const { address, port, namespace } = this.#target;
    const connect = () => Bun.connect<Peer>({ hostname: address, port, socket });
    return namespace === undefined ? connect() : inNetworkNamespace(namespace, connect);
  }

  #closed(socket: Bun.Socket<Peer>): void {
    this.sockets.delete(socket);
    const { other } = socket.data;
    if (other === undefined) return;
    other.data.ending = true;
    flush(other);
  }

  [Symbol.dispose](): void {
    this.#listener.stop(true);
    for (const socket of [...this.sockets]) socket.terminate();
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
