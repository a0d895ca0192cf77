import { Relay } from "../../src/cli/lab/servers/relay.ts";
import type { Netns } from "./netns.ts";

/** Passes connections on to a server, and can fail in the ways in which networks do. It listens on 127.0.0.1. */
export class TcpRelay extends Relay {
  #refusing = false;

  /** @param place where the server is; else it is here, on 127.0.0.1 */
  constructor(port: number, place?: { readonly ns: Netns; readonly address: string }) {
    super({ port, address: place?.address ?? "127.0.0.1", namespace: place?.ns.path });
  }

  protected override get accepting(): boolean {
    return !this.#refusing;
  }

  /** Ends all connections, and each new one at once, until `mend`. */
  cut(): void {
    this.#refusing = true;
    for (const socket of [...this.sockets]) socket.terminate();
  }

  mend(): void {
    this.#refusing = false;
  }

  /** The connections that there are stay open and carry nothing any more; new ones work. */
  stall(): void {
    for (const socket of this.sockets) socket.data.other = undefined;
  }
}
