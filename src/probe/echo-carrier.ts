import { KernelError } from "../ffi/errors.ts";
import { type EchoMark, IcmpSocket, realTime } from "../ffi/icmp-socket.ts";
import type { Address } from "../net/address.ts";
import { FAMILIES, type Family, type PerFamily } from "../net/family.ts";
import { answeredNumber, writeRequest } from "./echo.ts";
import type { Carrier, Train } from "./round.ts";

/** The addresses from which a family's probes go: the own VTEP's, and that of the interface below it. */
export interface Sources {
  readonly overlay: Address;
  readonly underlay: Address;
}

type Way = keyof Sources;
const WAYS: readonly Way[] = ["overlay", "underlay"];

interface Opened {
  readonly source: Address;
  readonly socket: IcmpSocket;
}

/** Probes as ICMP echo requests of raw sockets, one for each own address. */
export class EchoCarrier implements Carrier, Disposable {
  /** by chance, so that nobody else's answers are taken for ours */
  readonly #mark: EchoMark = { identifier: chance() & 0xffff, cookie: chance() };
  readonly #sockets: Record<Way, PerFamily<Opened>> = { overlay: {}, underlay: {} };
  /** by their length, of which there are two or three */
  readonly #messages = new Map<number, Uint8Array>();
  #number = 0;
  #refusal: KernelError | undefined;

  /**
   * Has the probes go from these addresses. In the network namespace that the thread is in.
   * @returns why some of them can't be probed from; they are tried again with the next call
   */
  use(sources: PerFamily<Sources>): Error[] {
    const errors: Error[] = [];
    for (const family of FAMILIES) {
      for (const way of WAYS) {
        const source = sources[family]?.[way];
        const opened = this.#sockets[way][family];
        if (opened?.source === source) continue;
        opened?.socket[Symbol.dispose]();
        delete this.#sockets[way][family];
        if (source === undefined) continue;
        try {
          this.#sockets[way][family] = { source, socket: new IcmpSocket(family, source, this.#mark) };
        } catch (error) {
          errors.push(error instanceof Error ? error : new Error(String(error)));
        }
      }
    }
    return errors;
  }

  /** Whether there is a socket for that. */
  carries(family: Family, way: Way): boolean {
    return this.#sockets[way][family] !== undefined;
  }

  /** The last probe that this node itself refused to send since the last call. */
  takeRefusal(): KernelError | undefined {
    const refusal = this.#refusal;
    this.#refusal = undefined;
    return refusal;
  }

  send({ family, path, target, bytes }: Train): { number: number; at: number } | undefined {
    const number = this.#number;
    this.#number = (number + 1) >>> 0;
    const message = this.#message(bytes);
    writeRequest(message, family, this.#mark, number);
    const at = realTime();
    try {
      this.#sockets[path === "underlay" ? "underlay" : "overlay"][family]?.socket.send(message, target);
    } catch (error) {
      // A packet filter of this node, or its full conntrack table.
      if (error instanceof KernelError && error.errnoName === "EPERM") {
        this.#refusal = error;
        return undefined;
      }
      // No route, a device that is away: whatever it is, the peer can't be reached.
    }
    return { number, at };
  }

  #message(bytes: number): Uint8Array {
    let message = this.#messages.get(bytes);
    if (message === undefined) {
      // After many changes of the MTU.
      if (this.#messages.size > 8) this.#messages.clear();
      message = new Uint8Array(bytes);
      this.#messages.set(bytes, message);
    }
    return message;
  }

  *answers(): Generator<{ number: number; at: number }> {
    for (const way of WAYS) {
      for (const family of FAMILIES) {
        const socket = this.#sockets[way][family]?.socket;
        if (socket === undefined) continue;
        for (const message of socket.messages()) {
          const number = answeredNumber(message, family, this.#mark);
          if (number !== undefined) yield { number, at: socket.timeOfLast() };
        }
      }
    }
  }

  [Symbol.dispose](): void {
    this.use({});
  }
}

/** 32 bits */
function chance(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
